<?php

/**
 * The connections that async calls share: which call goes where, and what comes back.
 */

declare(strict_types=1);

namespace Jackfield\Call;

use Jackfield\Exception\ConnectException;
use Jackfield\Exception\JackfieldException;
use Jackfield\Exception\ProtocolException;
use Jackfield\Log;
use Jackfield\Options;
use Jackfield\Pool\Connection;
use Jackfield\Pool\Notice;
use Jackfield\Pool\Pool;
use Jackfield\Transport\StreamTransport;
use Jackfield\Uuid;
use Jackfield\Wire\Envelope;
use Jackfield\Wire\Header;

use function count, hrtime, intdiv, is_string, max, min, sprintf, strlen, substr, usleep;

final class Traffic
{
    /** A connection with this many unsent bytes takes no further call: what is not in its output can be withdrawn. */
    private const CONGESTED = 262_144;
    /** The longest pause in microseconds while there is no connection; whoever waits longer comes back. */
    private const LONGEST_PAUSE = 1_000_000;

    public readonly Queue $queue;
    public readonly Outcomes $outcomes;
    /** @var array<int, Connection> by their keys */
    private array $connections = [];

    public function __construct(
        private readonly Pool $pool,
        private readonly Options $options,
        private readonly Log $log,
        private readonly Multiplexer $multiplexer,
    ) {
        $this->queue = new Queue();
        $this->outcomes = new Outcomes($this->queue, $pool, $multiplexer, $log, $options);
    }

    /** Withdraws a call. True when its request was sent or may still be: its reply is then owed to nobody. */
    public function withdraw(Call $call): bool
    {
        $connection = $call->connection;
        if ($connection === null) {
            $this->queue->remove($call);

            return $call->maybeStarted;
        }
        unset($connection->inFlight[$call->id]);
        $connection->owed[$call->id] = true;

        return true;
    }

    /** Withdraws a call whose deadline passed, and says what it was waiting for. */
    public function expire(Call $call): JackfieldException
    {
        $connection = $call->connection;
        $failure = $this->outcomes->expired($call, $connection?->hasSent($call));
        $this->withdraw($call);
        if ($connection !== null && $connection->heardAt <= $call->placedAt) {
            // Not a byte since the call was placed: the peer may never answer again.
            $connection->retiring = true;
            if ($connection->inFlight === []) {
                $this->drop($connection);
            }
        }

        return $failure;
    }

    /** Gives queued calls their places and sends what can be sent. */
    public function send(int $now): void
    {
        foreach ($this->connections as $connection) {
            if ($connection->probedUntil !== null && $connection->probedUntil <= $now) {
                $this->drop($connection);
            }
        }
        while (($call = $this->queue->head($now)) !== null) {
            try {
                $connection = $this->place($now);
            } catch (ConnectException $failure) {
                $this->queue->remove($call);
                $this->multiplexer->end($call, null, $failure);
                continue;
            }
            if ($connection === null) {
                break;
            }
            $this->queue->remove($call);
            $call->connection = $connection;
            $call->placedAt = $now;
            $connection->enqueue($call);
            if ($connection->unsentBytes >= self::CONGESTED) {
                $this->flush($connection);
            }
        }
        $lost = false;
        foreach ($this->connections as $connection) {
            $lost = $connection->unsentBytes > 0 && !$this->flush($connection) || $lost;
        }
        if ($lost && $this->queue->count() > 0) {
            // An idle connection was dead: its calls go to the next one now. This ends, since each round closes a
            // connection, and new ones that die at once are opened ever more slowly.
            $this->send(hrtime(true));
        }
    }

    /** Waits until a connection is ready or `$until` comes, then writes and reads what is ready. */
    public function exchange(int $until): void
    {
        $read = $write = [];
        foreach ($this->connections as $key => $connection) {
            $read[$key] = $connection->stream();
            if ($connection->unsentBytes > 0) {
                $write[$key] = $read[$key];
            }
        }
        $left = max(0, $until - hrtime(true));
        if ($read !== []) {
            StreamTransport::select($read, $write, $left);
        } elseif ($left > 0) {
            usleep(min(intdiv($left + 999, 1_000), self::LONGEST_PAUSE));
        }
        foreach ($write as $key => $_) {
            $this->flush($this->connections[$key]);
        }
        foreach ($read as $key => $_) {
            if (isset($this->connections[$key])) {
                $this->receive($this->connections[$key]);
            }
        }
    }

    /** Whether no connection is in use, be it only for a reply that nobody waits for. */
    public function isIdle(): bool
    {
        return $this->connections === [];
    }

    /** When a call is to be sent again, connecting tried again, or a heartbeat given up, as hrtime(true); null: never. */
    public function nextDue(): ?int
    {
        $delayed = $this->queue->nextDue();
        $next = $this->probedUntil();
        if ($next === null && $this->queue->count() > 0 && !$this->pool->isFull() && $this->withRoom() === null) {
            $next = $this->pool->connectAt();
        }

        return $delayed === null || $next === null ? $delayed ?? $next : min($next, $delayed);
    }

    /** @return array{read: list<resource>, write: list<resource>} */
    public function streams(): array
    {
        $streams = ['read' => [], 'write' => []];
        foreach ($this->connections as $connection) {
            $streams['read'][] = $connection->stream();
            if ($connection->unsentBytes > 0) {
                $streams['write'][] = $connection->stream();
            }
        }

        return $streams;
    }

    /** Forgets calls and connections; those that the pool still holds are its to close. */
    public function forget(): void
    {
        $this->connections = [];
        $this->queue->clear();
    }

    /** The connection for the next call; null when it has to wait. */
    private function place(int $now): ?Connection
    {
        $connection = $this->withRoom();
        if ($connection !== null) {
            return $connection->unsentBytes < self::CONGESTED ? $connection : null;
        }
        if ($this->probedUntil() !== null) {
            return null;
        }
        if ($this->pool->isFull()) {
            // A connection that only owes replies to nobody makes room for one that is of use.
            foreach ($this->connections as $connection) {
                if ($connection->inFlight === []) {
                    $this->drop($connection);
                    break;
                }
            }
        }
        $connection = $this->pool->take($now, null);
        if ($connection === null) {
            return null;
        }
        $this->connections[$connection->key] = $connection;

        return $connection->probedUntil === null ? $connection : null;
    }

    /** The first connection in use that takes more calls: later ones are opened, and used, only when it is full. */
    private function withRoom(): ?Connection
    {
        foreach ($this->connections as $connection) {
            if (
                !$connection->retiring
                && $connection->probedUntil === null
                && count($connection->inFlight) + count($connection->owed) < $this->options->maxInFlightPerConnection
            ) {
                return $connection;
            }
        }

        return null;
    }

    /** When the first heartbeat under way is given up, as hrtime(true); null: none is. */
    private function probedUntil(): ?int
    {
        $first = null;
        foreach ($this->connections as $connection) {
            $first = min($first ?? PHP_INT_MAX, $connection->probedUntil ?? PHP_INT_MAX);
        }

        return $first === PHP_INT_MAX ? null : $first;
    }

    /** False when the connection is lost, which has been seen to. */
    private function flush(Connection $connection): bool
    {
        if ($connection->flush()) {
            return true;
        }
        // The peer takes nothing more, but what it said before it went is still there to be read.
        $this->receive($connection, true);

        return false;
    }

    /** @param bool $last whether the connection has failed already and is closed after this */
    private function receive(Connection $connection, bool $last = false): void
    {
        $wasProbed = $connection->probedUntil !== null;
        try {
            do {
                $before = $connection->received;
                $open = $connection->receive(hrtime(true));
                while ($connection->reader->next()) {
                    $this->frame($connection, $connection->reader->kind, $connection->reader->payload);
                }
            } while ($last && $open && $connection->received > $before);
        } catch (JackfieldException $reason) {
            $this->lose($connection, $reason);

            return;
        }
        if ($last || !$open) {
            $this->lose($connection, null);
        } elseif ($connection->retiring && $connection->inFlight === []) {
            $this->drop($connection);
        } else {
            if ($wasProbed && $connection->probedUntil === null) {
                // The calls that waited for this answer go out before the connection could count as idle.
                $this->send(hrtime(true));
            }
            $this->rest($connection);
        }
    }

    /** Gives a connection back to the pool if nothing is under way on it. */
    private function rest(Connection $connection): void
    {
        if (isset($this->connections[$connection->key]) && $connection->isAtRest()) {
            unset($this->connections[$connection->key]);
            $this->pool->give($connection);
        }
    }

    private function frame(Connection $connection, int $kind, string $payload): void
    {
        if ($kind === Header::ASYNC_RESPONSE) {
            $id = substr($payload, Envelope::ID_AT, Uuid::LENGTH);
            $expected = isset($connection->inFlight[$id]) ? $id : null;
            $reply = Envelope::reply($payload, $this->options->associative, $expected);
            $id = is_string($reply['id'] ?? null) ? $reply['id'] : '';
            $call = $connection->inFlight[$id] ?? null;
            if ($call === null) {
                $this->log->strayReply($id, isset($connection->owed[$id]));
                unset($connection->owed[$id]);

                return;
            }
            unset($connection->inFlight[$id]);
            $connection->isProven = true;
            $connection->retiring = $connection->retiring || isset($reply['error']) && Envelope::saysGoingAway($reply);
            $this->outcomes->replied($call, $reply);
        } elseif ($kind === Header::HEARTBEAT) {
            $connection->probedUntil = null;
        } elseif ($kind === Header::ERROR) {
            $this->notice($connection, Notice::read($payload));
        } elseif ($kind === Header::SYNC || $kind === Header::ASYNC_REQUEST) {
            throw new ProtocolException(sprintf('the peer sent a frame of kind %02x that nobody asked for', $kind));
        }
        // Kinds of later versions, and heartbeat answers that nobody waits for, do no harm.
    }

    private function notice(Connection $connection, Notice $notice): void
    {
        if ($notice->isGoingAway()) {
            $connection->retiring = true;

            return;
        }
        if (!$notice->sparesConnection()) {
            throw $notice->error;
        }
        foreach ($connection->inFlight as $id => $call) {
            if ($notice->concerns(strlen($call->frame) - Header::LENGTH)) {
                unset($connection->inFlight[$id]);
                $this->outcomes->failed($call, $notice->error);
            }
        }
    }

    private function lose(Connection $connection, ?JackfieldException $reason): void
    {
        $this->drop($connection);
        // One that dies while it is asked is an old one, no failure to connect.
        if (!$connection->isProven && $connection->probedUntil === null) {
            $this->pool->connectFailed();
        }
        $this->outcomes->lost($connection, $reason);
    }

    private function drop(Connection $connection): void
    {
        unset($this->connections[$connection->key]);
        $this->pool->drop($connection);
    }
}
