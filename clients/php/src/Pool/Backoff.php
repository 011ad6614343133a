<?php

/**
 * How long to wait before trying again: doubling, with jitter, so that many processes do not come back at once.
 */

declare(strict_types=1);

namespace Jackfield\Pool;

final class Backoff
{
    private const FIRST_NANOS = 1_000_000;
    private const MOST_NANOS = 100_000_000;

    /**
     * Nanoseconds to wait after the `$failures`-th failure in a row: half of it fixed, half of it random.
     *
     * @param int $failures 1 or more
     */
    public static function nanos(int $failures): int
    {
        $whole = min(self::MOST_NANOS, self::FIRST_NANOS << min($failures - 1, 10));

        return intdiv($whole, 2) + mt_rand(0, intdiv($whole, 2));
    }
}
