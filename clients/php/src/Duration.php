<?php

declare(strict_types=1);

namespace Jackfield;

use function hrtime, number_format, rtrim;

/**
 * Durations in the messages of exceptions.
 *
 * @internal
 */
final class Duration
{
    /**
     * Returns how long a call has taken and its time-out, such as `after 0.201 s, time-out 0.2 s`.
     *
     * @param int $started  when the call began, as hrtime(true)
     * @param int $deadline an instant of hrtime(true), in nanoseconds
     */
    public static function ofCall(int $started, int $deadline): string
    {
        $now = hrtime(true);

        return 'after ' . self::text($now - $started) . ', time-out ' . self::text($deadline - $started);
    }

    /**
     * Returns a duration in seconds, rounded to milliseconds.
     */
    public static function text(int $nanos): string
    {
        $seconds = number_format($nanos / 1e9, 3, '.', '');
        $seconds = rtrim($seconds, '0');

        return rtrim($seconds, '.') . ' s';
    }
}
