<?php

declare(strict_types=1);

namespace Jackfield\Pool;

use Jackfield\Exception\ConnectionLostException;
use Jackfield\Wire\FrameReader;
use Jackfield\Wire\Grant;
use Jackfield\Wire\Header;
use Jackfield\Wire\Hello;

use function hrtime, pack;

/**
 * The agreement of client and host on the version of one connection: a hello and its answer.
 *
 * ```text
 * due ──(first write)──► awaiting ──(answer with a grant)──► version 1.2
 *                                 └─(any other answer)─────► version 1.1
 * ```
 *
 * The hello leaves together with the first request, which has the form of version 1.1, and its
 * answer is read together with the first reply. Without the option `hello`, a connection begins
 * with version 1.1.
 *
 * @internal
 */
final class Negotiation
{
    /** Whether the next write begins with the hello. */
    public bool $isDue;

    /** Whether the hello was sent and not answered. */
    public bool $isAwaiting = false;

    /** The answer of the host; null if it speaks version 1.0 or 1.1. */
    public ?Grant $grant = null;

    /** Most requests in flight that the host grants. */
    public int $maxInFlight = PHP_INT_MAX;

    /** Version and kind of requests without an extension block. */
    public string $syncPrefix = Header::SYNC_PREFIX;
    public string $asyncPrefix = Header::ASYNC_PREFIX;

    private string $nonce = '';

    /**
     * @param Hello|null $hello    null: version 1.1 only
     * @param bool       $isReused whether an earlier request of php-fpm used the socket
     */
    public function __construct(private readonly ?Hello $hello, private readonly bool $isReused)
    {
        $this->isDue = $hello !== null;
    }

    /**
     * Returns the frame of the hello, which is sent once.
     *
     * No two hellos on one socket have the same nonce, because they are sent at different instants.
     */
    public function begin(): string
    {
        $now = hrtime(true);
        $this->nonce = pack('J', $now);
        $frame = $this->hello?->frame($this->nonce) ?? '';
        $this->isDue = false;
        $this->isAwaiting = true;

        return $frame;
    }

    /**
     * Handles the answer to a heartbeat. If the hello is not answered, this is its answer.
     *
     * @throws ConnectionLostException if it answers the hello of an earlier request
     */
    public function handleHeartbeat(FrameReader $reader): void
    {
        if (!$this->isAwaiting) {
            return;
        }

        $grant = Hello::answer($reader->payload);
        if ($grant !== null && $grant->nonce !== $this->nonce) {
            $this->rejectEarlierReply();
            $grant = null;
        }

        $this->isAwaiting = false;
        $this->grant = $grant;
        if ($grant !== null && $grant->maxInFlight > 0) {
            $this->maxInFlight = $grant->maxInFlight;
        }
        if ($grant !== null && $grant->has(Hello::BLOCK)) {
            $reader->acceptsBlocks = true;
            $this->syncPrefix = Header::SYNC_PREFIX_1_2;
            $this->asyncPrefix = Header::ASYNC_PREFIX_1_2;
        }
    }

    /**
     * Rejects a frame that answers none of the requests that were sent over this connection.
     *
     * If it arrives on a reused socket before the answer to the hello, it answers an earlier
     * request, and the socket is not in step.
     *
     * @throws ConnectionLostException if this is the case
     */
    public function rejectEarlierReply(): void
    {
        if ($this->isAwaiting && $this->isReused) {
            throw new ConnectionLostException(
                'the persistent socket is not in step: it received an answer to an earlier request',
                true
            );
        }
    }

    public function grants(int $capability): bool
    {
        return $this->grant !== null && $this->grant->has($capability);
    }

    public function grantsBytes(): bool
    {
        return $this->grant !== null && $this->grant->hasBytes;
    }
}
