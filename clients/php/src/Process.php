<?php

declare(strict_types=1);

namespace Jackfield;

use function function_exists, getmypid;

/**
 * The id of this process, with which every static state of this package is kept.
 *
 * Static state survives fork(). State that belongs to one process only (the random digits of ids,
 * the owners of persistent sockets) is therefore stored with the id of its process, and a process
 * with another id discards it.
 *
 * @internal
 */
final class Process
{
    private static ?bool $canFork = null;

    /**
     * The last return value of id(), for which no system call is needed.
     *
     * A method that is called several times within one call of a client reads this. The client has
     * called id() when the call began.
     */
    public static int $last = 0;

    /**
     * Returns the id of this process; always 0 if this PHP cannot fork.
     *
     * Costs one system call (0.1 to 0.4 us) if this PHP can fork.
     */
    public static function id(): int
    {
        return (self::$canFork ??= function_exists('pcntl_fork')) ? self::$last = (int) getmypid() : 0;
    }
}
