<?php

/**
 * Request ids: UUIDs of version 4 (RFC 9562, section 5.4) from the kernel's random numbers.
 */

declare(strict_types=1);

namespace Jackfield;

use function bin2hex, random_bytes, strlen, substr;

final class Uuid
{
    /** Ids whose random numbers are asked for at once: one system call for all, and little done in vain for a few. */
    private const BATCH = 64;
    /** Digits of an id, those in whose place the dashes come included. */
    private const LENGTH = 36;
    /** The digit at 19 for each random one: its two upper bits are the variant's. */
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
        if ($at === strlen(self::$digits)) {
            self::$digits = bin2hex(random_bytes(self::BATCH * self::LENGTH / 2));
            $at = 0;
        }
        self::$offset = $at + self::LENGTH;
        $id = substr(self::$digits, $at, self::LENGTH);
        $id[8] = $id[13] = $id[18] = $id[23] = '-';
        $id[14] = '4';
        $id[19] = self::VARIANT[$id[19]];

        return $id;
    }

    /** Throws away the random digits at hand: after a fork, parent and child would make the same ids of them. */
    public static function forget(): void
    {
        self::$digits = '';
        self::$offset = 0;
    }
}
