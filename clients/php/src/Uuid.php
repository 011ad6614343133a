<?php

/**
 * Request ids: UUIDs of version 4 (RFC 9562, section 5.4) from the kernel's random numbers.
 */

declare(strict_types=1);

namespace Jackfield;

final class Uuid
{
    /** Ids made at once, by operations on one string for all of them. */
    private const BATCH = 256;
    /** Bytes of an id. */
    private const LENGTH = 36;
    /**
     * The random bytes of one id, two digits each, those in whose place the dashes come included. Of the digits at 14
     * and 19, the masks let through what is random: nothing of the version, two bits of the variant.
     */
    private const RANDOM = "\xff\xff\xff\xff\xff\xff\xff\x0f\xff\xf3\xff\xff\xff\xff\xff\xff\xff\xff";
    private const FIXED = "\0\0\0\0\0\0\0\x40\0\x08\0\0\0\0\0\0\0\0";
    /** The text of one id: what is random, and the dashes. */
    private const DIGITS = "\xff\xff\xff\xff\xff\xff\xff\xff\0\xff\xff\xff\xff\0\xff\xff\xff\xff\0\xff\xff\xff\xff\0"
        . "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff";
    private const DASHES = "\0\0\0\0\0\0\0\0-\0\0\0\0-\0\0\0\0-\0\0\0\0-\0\0\0\0\0\0\0\0\0\0\0\0";

    private static string $ids = '';
    private static int $offset = 0;

    /** A new id in lower case text, 36 bytes. */
    public static function v4(): string
    {
        $at = self::$offset;
        if ($at === strlen(self::$ids)) {
            self::$ids = self::batch();
            $at = 0;
        }
        self::$offset = $at + self::LENGTH;

        return substr(self::$ids, $at, self::LENGTH);
    }

    /** Throws away the ids at hand: after a fork, parent and child would give out the same ones. */
    public static function forget(): void
    {
        self::$ids = '';
        self::$offset = 0;
    }

    private static function batch(): string
    {
        $bytes = random_bytes(self::BATCH * strlen(self::RANDOM))
            & str_repeat(self::RANDOM, self::BATCH)
            | str_repeat(self::FIXED, self::BATCH);

        return bin2hex($bytes) & str_repeat(self::DIGITS, self::BATCH) | str_repeat(self::DASHES, self::BATCH);
    }
}
