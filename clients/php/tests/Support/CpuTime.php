<?php

declare(strict_types=1);

namespace Jackfield\Tests\Support;

/**
 * The CPU time of this process, which other processes on a busy machine do not affect.
 */
final class CpuTime
{
    /**
     * Returns the CPU time used so far (user and system), in microseconds.
     */
    public static function micros(): int
    {
        $usage = getrusage();

        return ($usage['ru_utime.tv_sec'] + $usage['ru_stime.tv_sec']) * 1_000_000
            + $usage['ru_utime.tv_usec'] + $usage['ru_stime.tv_usec'];
    }
}
