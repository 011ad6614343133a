<?php

declare(strict_types=1);

namespace Jackfield\Call;

use Jackfield\Future;
use Jackfield\Pool\Connection;
use Jackfield\Wire\Header;
use Jackfield\Wire\RequestFrame;

use function strlen;

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

    /** Length of the payload of that frame, in bytes. */
    public int $payloadLength = 0;

    /** How often the host answered that it is going away. */
    public int $refusals = 0;

    /** Bytes that count for Options::$maxUnsentBytes while the call is queued. */
    public readonly int $size;

    /** Whether an earlier try was lost after its complete request had been sent. */
    public bool $mayHaveStarted = false;

    /** The caller's future. Null after the end of the call, so that the result is not retained. */
    public ?Future $future;

    /**
     * @param string $envelope envelope without its closing brace; emptied when the call ends
     * @param int    $deadline an instant of hrtime(true), in nanoseconds
     * @param int    $started  when the call was submitted, as hrtime(true)
     * @param BytesCall|null $bytes how bytes are passed; null for a call without bytes
     */
    public function __construct(
        public readonly string $id,
        public readonly string $method,
        public string $envelope,
        public readonly int $deadline,
        public readonly bool $idempotent,
        public readonly int $started,
        Multiplexer $multiplexer,
        public ?BytesCall $bytes = null,
    ) {
        $this->size = strlen($envelope) + ($bytes === null ? 0 : strlen($bytes->bytes ?? ''));
        $this->future = new Future($multiplexer, $this, $id);
    }

    /**
     * Returns the frame of the request for a connection.
     */
    public function frame(Connection $connection, int $now): string
    {
        $remaining = $this->deadline - $now;

        return $this->bytes?->bytes === null
            ? RequestFrame::of($connection->negotiation->asyncPrefix, $this->envelope, $remaining)
            : RequestFrame::withBytes(Header::ASYNC_BLOCK_PREFIX, $this->envelope, $this->bytes->bytes, $remaining);
    }

    public function hasEnded(): bool
    {
        return $this->future === null;
    }
}
