<?php

declare(strict_types=1);

namespace Jackfield\Call;

use Jackfield\Exception\ConnectException;
use Jackfield\Exception\JackfieldException;
use Jackfield\Exception\UnsupportedException;
use Jackfield\Log;
use Jackfield\Options;
use Jackfield\Pool\Connection;
use Jackfield\Pool\Pool;

use function hrtime, min;

/**
 * Assigns async calls to the connections that they share, and writes and reads these connections.
 *
 * @internal
 */
final class Dispatcher
{
    /**
     * Unsent bytes at which a connection takes no further call (256 KiB).
     *
     * Only a call whose frame is not in the output of a connection can be withdrawn completely.
     */
    private const MAX_UNSENT_BYTES = 262_144;

    public readonly Queue $queue;
    private readonly OutcomeHandler $outcomes;
    private readonly FrameHandler $frames;

    private readonly ActiveConnections $active;
    private readonly HostWait $hostWait;

    public function __construct(
        private readonly Pool $pool,
        Options $options,
        Log $log,
        private readonly Multiplexer $multiplexer,
    ) {
        $this->queue = new Queue();
        $this->active = new ActiveConnections($options->maxInFlightPerConnection);
        $this->outcomes = new OutcomeHandler($this->queue, $pool, $multiplexer, $log, $options);
        $this->hostWait = new HostWait($this->queue, $this->active, $pool, $this->outcomes, $multiplexer);
        $this->frames = new FrameHandler($this->outcomes, $options, $log);
    }

    /**
     * Withdraws a call: it is no longer sent, and its reply is ignored.
     *
     * @param bool $isCancelled whether the host is asked to end it: the next send() does this
     *
     * @return bool whether its request was sent, or may still be sent
     */
    public function withdraw(Call $call, bool $isCancelled): bool
    {
        $this->queue->remove($call);
        $connection = $call->connection;
        if ($connection === null) {
            return $call->mayHaveStarted;
        }

        $connection->withdraw($call, $isCancelled);

        return true;
    }

    /** Withdraws a call whose deadline passed and returns the failure to report. */
    public function expire(Call $call): JackfieldException
    {
        $connection = $call->connection;
        if ($connection === null && $this->hostWait->isHostDown()) {
            $this->pool->recordWait($call->started);
        }
        $sent = $connection?->hasSent($call);
        $failure = $this->outcomes->deadlineFailure($call, $sent);
        // The host knows the deadline and ends the call itself.
        $this->withdraw($call, false);

        if ($connection !== null && $connection->lastReceivedAt <= $call->assignedAt) {
            // No byte has arrived since the call was assigned: the peer may never answer again.
            $connection->acceptsNoCalls = true;
            if ($connection->inFlight === []) {
                $this->discard($connection);
            }
        }

        return $failure;
    }

    /** Assigns queued calls to connections and sends the bytes that can be sent without waiting. */
    public function send(int $now): void
    {
        foreach ($this->active->all as $connection) {
            if ($connection->heartbeatDeadline !== null && $connection->heartbeatDeadline <= $now) {
                $this->discard($connection);
            }
        }

        while (($call = $this->queue->head($now)) !== null) {
            try {
                $connection = $this->selectConnection($call, $now);
            } catch (ConnectException) {
                $this->hostWait->end($call);
                continue;
            }
            if ($connection === null) {
                break;
            }
            if ($call->bytes !== null && !$connection->negotiation->grantsBytes()) {
                $this->queue->remove($call);
                $this->multiplexer->end($call, null, UnsupportedException::bytes($call->method));
                $this->releaseIfIdle($connection);
                continue;
            }

            // In this order, because a signal handler may throw at the begin of each method: the
            // call is always in the queue or in flight, and head() skips a call that is both.
            $frame = $call->frame($connection, $now);
            $connection->enqueue($call, $frame, $now);
            $this->queue->remove($call);
            if ($connection->unsentBytes >= self::MAX_UNSENT_BYTES) {
                $this->flush($connection);
            }
        }

        $lost = false;
        foreach ($this->active->all as $connection) {
            $lost = $connection->unsentBytes > 0 && !$this->flush($connection) || $lost;
        }
        if ($lost && $this->queue->count() > 0) {
            // The host had closed an idle connection: its calls go to the next one now. The
            // recursion ends, because each round closes a connection, and the backoff delays new
            // connections that are closed immediately.
            $now = hrtime(true);
            $this->send($now);
        } else {
            $this->hostWait->endDue($now);
        }
    }

    /**
     * Waits until a connection is ready, then writes and reads the ready connections.
     *
     * @param int $until until when to wait, as hrtime(true)
     */
    public function exchange(int $until): void
    {
        ['read' => $read, 'write' => $write] = $this->active->wait($until);

        foreach ($write as $key => $_) {
            $this->flush($this->active->all[$key]);
        }
        foreach ($read as $key => $_) {
            if (isset($this->active->all[$key])) {
                $this->receive($this->active->all[$key]);
            }
        }
    }

    /** Returns whether no connection is in use, not even for the reply to a withdrawn call. */
    public function isIdle(): bool
    {
        return $this->active->all === [];
    }

    /** Returns when a retry, a connect or a heartbeat time-out is due, as hrtime(true), or null. */
    public function nextDue(): ?int
    {
        $delayed = $this->queue->nextDue();
        $next = $this->active->heartbeatDeadline();
        if (
            $next === null && $this->queue->count() > 0
            && !$this->pool->isFull() && $this->active->withCapacity() === null
        ) {
            $next = $this->pool->nextConnectAt();
            $limit = $this->hostWait->nextDue() ?? $next;
            $next = min($next, $limit);
        }

        return $delayed === null || $next === null ? $delayed ?? $next : min($next, $delayed);
    }

    /** @return array{read: array<int, resource>, write: array<int, resource>} */
    public function streams(): array
    {
        return $this->active->streams();
    }

    /** Forgets all calls and connections. The pool closes the connections that it still holds. */
    public function reset(): void
    {
        $this->active->all = [];
        $this->queue->clear();
    }

    /** Returns the connection for the next call; null if the call has to wait. */
    private function selectConnection(Call $call, int $now): ?Connection
    {
        $connection = $this->active->withCapacity();
        if ($connection !== null && $call->bytes !== null && $connection->negotiation->isAwaiting) {
            $connection->greet(true);

            return null;
        }
        if ($connection !== null) {
            return $connection->unsentBytes < self::MAX_UNSENT_BYTES ? $connection : null;
        }
        if ($this->active->heartbeatDeadline() !== null) {
            return null;
        }

        if ($this->pool->isFull()) {
            // A connection that only waits for replies to withdrawn calls is replaced by a new one.
            foreach ($this->active->all as $connection) {
                if ($connection->inFlight === []) {
                    $this->discard($connection);
                    break;
                }
            }
        }

        $connection = $this->pool->acquire($now, null);
        if ($connection === null) {
            return null;
        }
        $this->active->all[$connection->key] = $connection;
        $isAwaited = $call->bytes !== null;
        $connection->greet($isAwaited);

        return $connection->heartbeatDeadline === null ? $connection : null;
    }

    /**
     * Writes a connection.
     *
     * @return bool false if the connection was lost; its calls have been handled
     */
    private function flush(Connection $connection): bool
    {
        try {
            if ($connection->flush()) {
                return true;
            }
        } catch (\Throwable $thrown) {
            $this->handleInterruption($connection, $thrown);
            throw $thrown;
        }

        // The peer reads no more, but the bytes that it sent before it closed can still be read.
        $this->receive($connection, true);

        return false;
    }

    /**
     * Reads a connection and handles its frames.
     *
     * @param bool $isLast whether writing failed, so that the connection is closed afterwards
     */
    private function receive(Connection $connection, bool $isLast = false): void
    {
        $awaitedHeartbeat = $connection->heartbeatDeadline !== null;
        try {
            do {
                $before = $connection->receivedBytes;
                $now = hrtime(true);
                $open = $connection->receive($now);
                $reader = $connection->reader;
                while ($reader->next()) {
                    $this->frames->handle($connection, $reader);
                }
            } while ($isLast && $open && $connection->receivedBytes > $before);
        } catch (JackfieldException $reason) {
            $this->handleLoss($connection, $reason);

            return;
        } catch (\Throwable $thrown) {
            $this->handleInterruption($connection, $thrown);
            throw $thrown;
        }

        if ($isLast || !$open) {
            $this->handleLoss($connection, null);
        } elseif ($connection->acceptsNoCalls && $connection->inFlight === []) {
            $this->discard($connection);
        } else {
            if ($awaitedHeartbeat && $connection->heartbeatDeadline === null) {
                // The calls that waited for the heartbeat are sent before the connection is idle.
                $now = hrtime(true);
                $this->send($now);
            }
            $this->releaseIfIdle($connection);
        }
    }

    private function releaseIfIdle(Connection $connection): void
    {
        if (isset($this->active->all[$connection->key]) && $connection->isIdle()) {
            unset($this->active->all[$connection->key]);
            try {
                $this->pool->release($connection);
            } catch (\Throwable $thrown) {
                $this->pool->discard($connection);
                throw $thrown;
            }
        }
    }

    private function handleLoss(Connection $connection, ?JackfieldException $reason): void
    {
        $this->discard($connection);

        // A connection that is lost while it answers a heartbeat is an old one. Its loss is not a
        // failure to connect.
        if (!$connection->hasServed && ($connection->heartbeatDeadline ?? PHP_INT_MAX) === PHP_INT_MAX) {
            $this->pool->recordConnectFailure();
        }
        $this->outcomes->handleConnectionLoss($connection, $reason);
    }

    /**
     * Closes a connection on which a signal handler of the program has thrown an exception.
     *
     * How many bytes were written or read last is unknown.
     */
    private function handleInterruption(Connection $connection, \Throwable $thrown): void
    {
        $this->discard($connection);
        $this->outcomes->handleConnectionLoss($connection, $thrown);
    }

    private function discard(Connection $connection): void
    {
        $this->pool->discard($connection);
        unset($this->active->all[$connection->key]);
    }
}
