<?php

declare(strict_types=1);

namespace Jackfield\Call;

use Jackfield\Future;
use Jackfield\Pool\Connection;

/**
 * An async call, from its submission to its outcome.
 *
 * @internal
 */
final class Call
{
    /** How often the complete request was sent. */
    public int $tries = 0;

    /** The connection of the current try; null while the call is queued and after it has ended. */
    public ?Connection $connection = null;

    /** When the call was assigned to that connection, as hrtime(true). */
    public int $assignedAt = 0;

    /** Offset in the output of that connection at which the frame ends, in bytes. */
    public int $endOffset = 0;

    /** Whether an earlier try was lost after its complete request had been sent. */
    public bool $mayHaveStarted = false;

    /** The caller's future. Null after the end of the call, so that the result is not retained. */
    public ?Future $future;

    /**
     * @param string $frame    complete frame of the request; emptied when the call ends
     * @param int    $deadline an instant of hrtime(true), in nanoseconds
     * @param int    $started  when the call was submitted, as hrtime(true)
     */
    public function __construct(
        public readonly string $id,
        public readonly string $method,
        public string $frame,
        public readonly int $deadline,
        public readonly bool $idempotent,
        public readonly int $started,
        Multiplexer $multiplexer,
    ) {
        $this->future = new Future($multiplexer, $this, $id);
    }

    public function hasEnded(): bool
    {
        return $this->future === null;
    }
}
