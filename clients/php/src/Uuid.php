<?php

/**
 * Request ids: UUIDs of version 4 (RFC 9562, section 5.4) from the kernel's random numbers.
 */

declare(strict_types=1);

namespace Jackfield;

final class Uuid
{
    /** Bytes of randomness fetched at once: 256 ids for one system call. */
    private const BATCH = 4096;
    /** The two top bits of the variant's digit are 10. */
    private const VARIANT = [
        '0' => '8', '1' => '9', '2' => 'a', '3' => 'b', '4' => '8', '5' => '9', '6' => 'a', '7' => 'b',
        '8' => '8', '9' => '9', 'a' => 'a', 'b' => 'b', 'c' => '8', 'd' => '9', 'e' => 'a', 'f' => 'b',
    ];

    private static string $digits = '';
    private static int $offset = 0;

    /** A new id in lower case text, 36 bytes. */
    public static function v4(): string
    {
        $at = self::$offset;
        if ($at >= strlen(self::$digits)) {
            self::$digits = bin2hex(random_bytes(self::BATCH));
            $at = 0;
        }
        self::$offset = $at + 32;
        $digits = self::$digits;

        return substr($digits, $at, 8) . '-' . substr($digits, $at + 8, 4) . '-4' . substr($digits, $at + 13, 3)
            . '-' . self::VARIANT[$digits[$at + 16]] . substr($digits, $at + 17, 3)
            . '-' . substr($digits, $at + 20, 12);
    }

    /** Throws away the randomness at hand: after a fork, parent and child would draw the same ids from it. */
    public static function forget(): void
    {
        self::$digits = '';
        self::$offset = 0;
    }
}
