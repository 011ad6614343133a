<?php

declare(strict_types=1);

namespace Jackfield\Transport;

use function dirname, restore_error_handler, set_error_handler, str_starts_with;

/**
 * The error handler that silences the warnings of built-in functions in this package.
 *
 * The operator `@` does not keep an error handler of the program from throwing an exception for a
 * warning. To catch that exception would also catch what a signal handler of the program throws
 * (pcntl_async_signals), such as the time-out of a job. With this handler, no exception has to be
 * caught:
 *
 *     $handler = Warnings::handler();
 *     $isSet = true;
 *     try {
 *         Warnings::$outer = set_error_handler($handler);
 *         $written = fwrite(…);
 *         $isSet = false;
 *         restore_error_handler();
 *     } catch (\Throwable $thrown) {
 *         if ($isSet) {
 *             restore_error_handler();
 *         }
 *         throw $thrown;
 *     }
 *
 * A signal handler runs when a called function begins, when a built-in function returns, and at
 * jumps. In this order, the error handler is restored exactly once. A `finally` block would not do:
 * PHP runs it a second time, or not at all, if a signal handler throws at the jump at its end.
 *
 * PHP has no error handler while this one runs: warnings of a signal handler that runs inside it
 * are logged as by default.
 *
 * @internal
 */
final class Warnings
{
    /**
     * @var callable|null the error handler of the program, to which other warnings are passed. It
     *                    is set where signal handlers run most often
     */
    public static mixed $outer = null;

    private static ?\Closure $handler = null;

    /** Directory of the sources of this package. */
    private static ?string $package = null;

    public static function handler(): \Closure
    {
        return self::$handler ??= static function (int $level, string $text, string $file, int $line): bool {
            self::$package ??= dirname(__DIR__) . '/';
            if (str_starts_with($file, self::$package)) {
                return true;
            }

            // A signal handler of the program runs before the handler is restored.
            return self::$outer !== null && self::$outer !== self::$handler
                && (self::$outer)($level, $text, $file, $line) !== false;
        };
    }

    /**
     * Runs a function with this handler. The paths of each request have the lines above instead.
     *
     * @template T
     *
     * @param callable(): T $function
     *
     * @return T
     */
    public static function silenced(callable $function): mixed
    {
        $handler = self::handler();
        $isSet = true;
        try {
            self::$outer = set_error_handler($handler);
            $result = $function();
            $isSet = false;
            restore_error_handler();
        } catch (\Throwable $thrown) {
            if ($isSet) {
                restore_error_handler();
            }
            throw $thrown;
        }

        return $result;
    }
}
