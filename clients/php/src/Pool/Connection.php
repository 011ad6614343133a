<?php

declare(strict_types=1);

namespace Jackfield\Pool;

use Jackfield\Call\Call;
use Jackfield\Exception\ConnectionLostException;
use Jackfield\Exception\JackfieldException;
use Jackfield\Options;
use Jackfield\Transport\Transport;
use Jackfield\Wire\Header;
use Jackfield\Wire\Hello;

use function min, pack, spl_object_id, strlen, substr;

/**
 * A connection of the pool: used for one sync exchange at a time, or for any number of async calls.
 *
 * @internal
 */
final class Connection extends SyncChannel
{
    /** Bytes read from this connection before the other connections are served. */
    private const MAX_TURN_BYTES = 1_048_576;

    /**
     * Bytes of a read after which the socket may hold more.
     *
     * A shorter read has most likely emptied the socket; a further one would waste a system call.
     */
    private const FULL_READ_BYTES = 65_536;

    /** Time-out of a heartbeat, in nanoseconds. */
    private const HEARTBEAT_TIMEOUT = 1_000_000_000;

    /** Unique among the existing connections. */
    public readonly int $key;

    /** @var array<string, Call> async calls sent here and not answered, by id */
    public array $inFlight = [];

    /**
     * @var array<string, bool> ids of withdrawn calls whose reply may still arrive, and whether the
     *                          host is asked to end them once it has answered the hello
     */
    public array $withdrawn = [];

    /** Whether an exchange was ever completed here. */
    public bool $hasServed = false;

    /** When the heartbeat in flight times out, as hrtime(true); null if none is in flight. */
    public ?int $heartbeatDeadline = null;

    /** Bytes of the output that are not yet written to the socket. */
    public int $unsentBytes = 0;

    /** Bytes received by receive(). */
    public int $receivedBytes = 0;

    /** When the last bytes arrived, as hrtime(true). */
    public int $lastReceivedAt;

    /** When the connection became idle, as hrtime(true); 0 if unknown. */
    public int $idleSince;

    private string $output = '';
    private int $outputOffset = 0;

    /** Bytes written to the socket since the connection was made. */
    private int $sentBytes = 0;

    /** Idle time after which a heartbeat is sent before the connection is used, in nanoseconds. */
    private readonly int $healthCheckAfter;

    /** Idle time after which the connection is closed, in nanoseconds. */
    private readonly int $idleTimeout;

    /** @param Hello|null $hello the hello to send; null: version 1.1 of the protocol only */
    public function __construct(Transport $transport, Options $options, int $now, ?Hello $hello = null)
    {
        parent::__construct($transport, $options, $hello);

        $this->key = spl_object_id($this);
        $this->lastReceivedAt = $now;
        $this->idleSince = $transport->hasHistory() ? 0 : $now;
        $this->healthCheckAfter = (int) ($options->healthCheckAfter * 1e9);
        $this->idleTimeout = (int) ($options->idleTimeout * 1e9);
    }

    /**
     * Prepares an idle connection for use and returns whether it may be used.
     *
     * A connection that has been idle for longer than Options::$healthCheckAfter has to answer a
     * heartbeat first. One that has been idle for an unknown time has to do so, too, if it sends no
     * hello, which serves the same purpose.
     *
     * @param int|null $deadline until when to wait for the heartbeat, as hrtime(true). If null, the
     *                           heartbeat is only queued: the answer is read like other frames, and
     *                           no call may be sent before it arrives
     */
    public function activate(int $now, ?int $deadline): bool
    {
        $idleTime = $this->idleSince === 0 ? null : $now - $this->idleSince;
        if (
            $this->acceptsNoCalls
            || !$this->reader->isEmpty()
            || $idleTime !== null && $idleTime > $this->idleTimeout
            || !$this->transport->begin()
            // Unread bytes cannot answer a future request. They are an error notification, a
            // surplus reply, or the end of the connection.
            || !$this->transport->isQuiet()
        ) {
            return false;
        }

        if ($idleTime === null ? $this->negotiation->isDue : $idleTime <= $this->healthCheckAfter) {
            return true;
        }
        if ($deadline !== null) {
            $deadline = min($deadline, $now + self::HEARTBEAT_TIMEOUT);

            return $this->answersHeartbeat($now, $deadline);
        }

        $this->append(Header::HEARTBEAT_FRAME);
        $this->heartbeatDeadline = $now + self::HEARTBEAT_TIMEOUT;

        return true;
    }

    /**
     * Marks the connection as idle.
     */
    public function markIdle(int $now): void
    {
        $this->idleSince = $now;
        $this->hasServed = true;
        $this->transport->end();
    }

    /**
     * Returns whether no call or heartbeat is in flight and no reply is outstanding.
     */
    public function isIdle(): bool
    {
        return $this->inFlight === [] && $this->withdrawn === [] && $this->heartbeatDeadline === null
            && !$this->negotiation->isAwaiting && $this->unsentBytes === 0 && $this->reader->isEmpty();
    }

    /**
     * Appends the hello to the output if it is due.
     *
     * @param bool $isAwaited whether no call may be sent before the host has answered
     */
    public function greet(bool $isAwaited): void
    {
        if ($this->negotiation->isDue) {
            $this->append($this->negotiation->begin());
        }
        if ($isAwaited && $this->negotiation->isAwaiting) {
            // A new host may take a while to accept the connection: the deadlines of the calls
            // limit the wait.
            $this->heartbeatDeadline = PHP_INT_MAX;
        }
    }

    /**
     * Withdraws a call that was assigned here: its reply is ignored.
     *
     * @param bool $isCancelled whether the host is asked to end it, if it granted that. The
     *                          cancel frame follows the request in the output
     */
    public function withdraw(Call $call, bool $isCancelled): void
    {
        unset($this->inFlight[$call->id]);
        $this->withdrawn[$call->id] = $isCancelled && $this->negotiation->isAwaiting;
        if ($isCancelled) {
            $this->cancel($call->id);
        }
    }

    /**
     * Handles the answer to a heartbeat.
     *
     * @throws ConnectionLostException if it answers the hello of an earlier request
     */
    public function handleHeartbeat(): void
    {
        $this->negotiation->handleHeartbeat($this->reader);
        $this->heartbeatDeadline = null;

        foreach ($this->withdrawn as $id => $isCancelDue) {
            if ($isCancelDue) {
                $this->withdrawn[$id] = false;
                $this->cancel($id);
            }
        }
    }

    /**
     * Appends the frame of a call to the output, behind the hello. flush() sends it.
     *
     * No signal handler can run inside this method, because it calls nothing: a call has a
     * connection if and only if it is in flight there.
     */
    public function enqueue(Call $call, string $frame, int $now): void
    {
        $call->connection = $this;
        $call->assignedAt = $now;
        $call->payloadLength = strlen($frame) - Header::LENGTH;
        $this->output .= $frame;
        $this->unsentBytes += strlen($frame);
        $call->endOffset = $this->sentBytes + $this->unsentBytes;
        $this->inFlight[$call->id] = $call;
    }

    /**
     * Returns whether the complete frame of a call was written to the socket.
     */
    public function hasSent(Call $call): bool
    {
        return $call->endOffset <= $this->sentBytes;
    }

    /**
     * Sends the bytes that can be sent without waiting.
     *
     * @return bool false if the peer has closed the connection
     */
    public function flush(): bool
    {
        while ($this->unsentBytes > 0) {
            $written = $this->transport->write($this->output, $this->outputOffset);
            if ($written === null) {
                return false;
            }
            if ($written === 0) {
                break;
            }

            $this->sentBytes += $written;
            $this->unsentBytes -= $written;
            $this->outputOffset += $written;

            if ($this->unsentBytes === 0) {
                $this->output = '';
                $this->outputOffset = 0;
            } elseif ($this->outputOffset >= self::MAX_TURN_BYTES) {
                $this->output = substr($this->output, $this->outputOffset);
                $this->outputOffset = 0;
            }
        }

        return true;
    }

    /**
     * Reads the bytes that have arrived, up to one turn (1 MiB).
     *
     * @return bool false if the peer has closed the connection
     */
    public function receive(int $now): bool
    {
        for ($turnBytes = 0; $turnBytes < self::MAX_TURN_BYTES; $turnBytes += strlen($bytes)) {
            $bytes = $this->transport->read();
            if ($bytes === null) {
                if ($this->wasReset() && $this->sentBytes > 0) {
                    // At least the last byte was not read, so the host never had the whole last
                    // frame.
                    $this->sentBytes--;
                }

                return false;
            }
            if ($bytes === '') {
                break;
            }

            $this->lastReceivedAt = $now;
            $this->receivedBytes += strlen($bytes);
            $this->reader->push($bytes);
            if (strlen($bytes) < self::FULL_READ_BYTES) {
                break;
            }
        }

        return true;
    }

    /** @return resource */
    public function stream()
    {
        return $this->transport->stream();
    }

    public function close(): void
    {
        $this->transport->close();
    }

    /**
     * Leaves an idle connection: a persistent socket stays open for the next owner.
     */
    public function leave(): void
    {
        $this->transport->leave();
    }

    private function cancel(string $id): void
    {
        if ($this->negotiation->grants(Hello::CANCEL)) {
            $payload = "{\"id\":\"$id\"}";
            $frame = Header::CANCEL_PREFIX . pack('N', strlen($payload)) . $payload;
            $this->append($frame);
        }
    }

    private function append(string $frame): void
    {
        $this->output .= $frame;
        $this->unsentBytes += strlen($frame);
    }

    private function answersHeartbeat(int $now, int $deadline): bool
    {
        try {
            $this->heartbeat($now, $deadline);
        } catch (JackfieldException) {
            return false;
        }

        return true;
    }
}
