<?php

declare(strict_types=1);

namespace Jackfield;

use function array_pop, bin2hex, random_bytes, str_split;

/**
 * Generates request ids: UUIDs of version 4 (RFC 9562, section 5.4).
 *
 * The random numbers are the kernel's. Those that a process has fetched are never used by its
 * children.
 *
 * @internal
 */
final class Uuid
{
    /**
     * Number of ids whose random digits are fetched with one system call.
     *
     * A larger batch would cost a program that makes only a few calls more than it saves.
     */
    private const BATCH = 64;

    /** Length of an id, in bytes. */
    public const LENGTH = 36;

    /** Digit at offset 19 by the random digit there: its two upper bits hold the variant. */
    private const VARIANT = [
        '0' => '8', '1' => '9', '2' => 'a', '3' => 'b', '4' => '8', '5' => '9', '6' => 'a', '7' => 'b',
        '8' => '8', '9' => '9', 'a' => 'a', 'b' => 'b', 'c' => '8', 'd' => '9', 'e' => 'a', 'f' => 'b',
    ];

    /** @var list<string> random digits of the next ids, 36 each; v4() overwrites five of them */
    private static array $digits = [];

    /** Process that fetched the digits. */
    private static int $process = 0;

    /**
     * Returns a new id as lower-case text of 36 bytes.
     *
     * Process::$last is up to date afterwards.
     */
    public static function v4(): string
    {
        $process = Process::id();
        if (self::$process !== $process) {
            self::$process = $process;
            self::$digits = [];
        }

        $id = array_pop(self::$digits) ?? self::fetchDigits();
        $id[8] = '-';
        $id[13] = '-';
        $id[14] = '4';
        $id[18] = '-';
        $id[19] = self::VARIANT[$id[19]];
        $id[23] = '-';

        return $id;
    }

    private static function fetchDigits(): string
    {
        $digits = random_bytes(self::BATCH * self::LENGTH / 2);
        $digits = bin2hex($digits);
        self::$digits = str_split($digits, self::LENGTH);

        return array_pop(self::$digits);
    }
}
