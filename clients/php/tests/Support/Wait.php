<?php

declare(strict_types=1);

namespace Jackfield\Tests\Support;

/**
 * Waits for conditions, so that no test sleeps for a fixed time.
 */
final class Wait
{
    /** Time-out, in seconds: generous, because the tests may run on a busy two-core machine. */
    public const TIMEOUT_SECONDS = 20.0;

    /**
     * Returns once `$condition` holds.
     *
     * @param callable(): bool          $condition
     * @param string                    $description the condition as a sentence, for the error
     *                                               message
     * @param (callable(): string)|null $evidence    text to add to the error message
     *
     * @throws \RuntimeException if the condition does not hold within the time-out
     */
    public static function until(callable $condition, string $description, ?callable $evidence = null): void
    {
        $end = hrtime(true) + (int) (self::TIMEOUT_SECONDS * 1e9);
        while (!$condition()) {
            if (hrtime(true) > $end) {
                throw new \RuntimeException(
                    'not true within ' . self::TIMEOUT_SECONDS . " s: $description"
                    . ($evidence === null ? '' : "\n" . $evidence())
                );
            }
            clearstatcache();
            usleep(2_000);
        }
    }
}
