<?php

/**
 * Request ids: UUIDs of version 4 (RFC 9562, section 5.4) from the kernel's random numbers.
 */

declare(strict_types=1);

namespace Jackfield;

use function array_pop, bin2hex, random_bytes, str_split;

final class Uuid
{
    /** Ids whose random numbers are asked for at once: one system call for all, and little done in vain for a few. */
    private const BATCH = 64;
    /** Bytes of an id. */
    public const LENGTH = 36;
    /** The digit at 19 for each random one: its two upper bits are the variant's. */
    private const VARIANT = [
        '0' => '8', '1' => '9', '2' => 'a', '3' => 'b', '4' => '8', '5' => '9', '6' => 'a', '7' => 'b',
        '8' => '8', '9' => '9', 'a' => 'a', 'b' => 'b', 'c' => '8', 'd' => '9', 'e' => 'a', 'f' => 'b',
    ];

    /** @var list<string> the digits of ids to come, all of them random, those where the dashes will be included */
    private static array $digits = [];

    /** A new id in lower case text, 36 bytes. */
    public static function v4(): string
    {
        $id = array_pop(self::$digits) ?? self::more();
        $id[8] = '-';
        $id[13] = '-';
        $id[14] = '4';
        $id[18] = '-';
        $id[19] = self::VARIANT[$id[19]];
        $id[23] = '-';

        return $id;
    }

    /** Throws away the random digits at hand: after a fork, parent and child would make the same ids of them. */
    public static function forget(): void
    {
        self::$digits = [];
    }

    private static function more(): string
    {
        self::$digits = str_split(bin2hex(random_bytes(self::BATCH * self::LENGTH / 2)), self::LENGTH);

        return array_pop(self::$digits);
    }
}
