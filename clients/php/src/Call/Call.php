<?php

/**
 * One async call from its submission to its outcome.
 */

declare(strict_types=1);

namespace Jackfield\Call;

use Jackfield\Future;
use Jackfield\Pool\Connection;

final class Call
{
    /** Times the whole request was sent. */
    public int $tries = 0;
    /** The connection it was last put on; null while it waits for one, and after its end. */
    public ?Connection $connection = null;
    /** When it was put on that connection, as hrtime(true). */
    public int $placedAt = 0;
    /** The position in that connection's output at which the frame ends, in bytes. */
    public int $sentAt = 0;
    /** Whether an earlier try was lost after all of it had been sent. */
    public bool $maybeStarted = false;
    /** Who waits for the outcome; null once it is known, so that an ended call keeps no result in memory. */
    public ?Future $future;

    /**
     * @param string $frame    the whole frame; emptied at the end
     * @param int    $deadline an instant of hrtime(true), nanoseconds
     * @param int    $started  when the call was submitted, as hrtime(true); 0 where nobody asks
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
