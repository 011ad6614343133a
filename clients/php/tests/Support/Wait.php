<?php

/**
 * Waiting for a condition, so that no test waits for a fixed time.
 */

declare(strict_types=1);

namespace Jackfield\Tests\Support;

final class Wait
{
    /** How long a condition may take on a busy two-core machine before it counts as never. */
    public const CEILING_SECONDS = 20.0;

    /**
     * Returns once `$condition` holds.
     *
     * @param callable(): bool $condition
     * @param (callable(): string)|null $evidence what to show when it never did
     */
    public static function until(callable $condition, string $what, ?callable $evidence = null): void
    {
        $end = hrtime(true) + (int) (self::CEILING_SECONDS * 1e9);
        while (!$condition()) {
            if (hrtime(true) > $end) {
                throw new \RuntimeException("never came true: $what" . ($evidence === null ? '' : "\n" . $evidence()));
            }
            clearstatcache();
            usleep(2_000);
        }
    }
}
