<?php

declare(strict_types=1);

namespace Jackfield\Pool;

/**
 * Exponential backoff with jitter, so that many processes do not retry at the same time.
 *
 * @internal
 */
final class Backoff
{
    private const BASE_NANOS = 1_000_000;
    private const MAX_NANOS = 100_000_000;

    /**
     * Returns the delay after the `$failures`-th consecutive failure, in nanoseconds.
     *
     * The delay doubles from 1 ms up to 100 ms. Half of it is fixed, the other half is random.
     *
     * @param int $failures 1 or more
     */
    public static function nanos(int $failures): int
    {
        $doublings = min($failures - 1, 10);
        $delay = min(self::MAX_NANOS, self::BASE_NANOS << $doublings);
        $half = intdiv($delay, 2);

        // Not mt_rand(), whose state is the same in all children of a process.
        return $half + random_int(0, $half);
    }
}
