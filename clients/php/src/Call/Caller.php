<?php

/**
 * Sync calls: one exchange at a time on a connection of its own, the shortest way to a reply.
 */

declare(strict_types=1);

namespace Jackfield\Call;

use Jackfield\Exception\ConnectException;
use Jackfield\Exception\ConnectionLostException;
use Jackfield\Exception\JackfieldException;
use Jackfield\Exception\PoolFullException;
use Jackfield\Log;
use Jackfield\Options;
use Jackfield\Pool\Connection;
use Jackfield\Pool\Pool;
use Jackfield\Uuid;
use Jackfield\Wire\Envelope;
use Jackfield\Wire\Header;

use function array_key_exists, hrtime, intdiv, max, pack, strlen, usleep;

final class Caller
{
    private readonly RetryPolicy $retries;

    public function __construct(
        private readonly Pool $pool,
        private readonly Options $options,
        private readonly Log $log,
    ) {
        $this->retries = new RetryPolicy($options);
    }

    /**
     * @param int $deadline an instant of hrtime(true), nanoseconds; connecting and every try lie before it
     * @throws JackfieldException
     */
    public function call(string $method, mixed $params, int $deadline, bool $idempotent): mixed
    {
        $started = $this->log->isKept ? hrtime(true) : 0;
        $id = Uuid::v4();
        $payload = Envelope::request($id, $method, $params);
        $frame = Header::SYNC_HEAD . pack('N', strlen($payload)) . $payload;
        try {
            $result = $this->try($frame, $id, $method, $deadline, $idempotent);
        } catch (JackfieldException $failure) {
            if ($this->log->isKept) {
                $this->log->syncDone($id, $method, $started, $failure);
            }
            throw $failure;
        }
        if ($this->log->isKept) {
            $this->log->syncDone($id, $method, $started, null);
        }

        return $result;
    }

    /**
     * A heartbeat and its answer.
     *
     * @return float seconds it took
     * @throws JackfieldException
     */
    public function ping(int $deadline): float
    {
        while (true) {
            $connection = $this->connection($deadline);
            $started = hrtime(true);
            try {
                $connection->heartbeat($deadline);
                $took = (hrtime(true) - $started) / 1e9;
                $this->pool->give($connection);

                return $took;
            } catch (JackfieldException $failure) {
                // A heartbeat does nothing, so asking again is harmless; an idle socket may just have been closed.
                $this->discard($connection, true);
                if (!$failure instanceof ConnectionLostException || hrtime(true) >= $deadline) {
                    throw $failure;
                }
            }
        }
    }

    private function try(string $frame, string $id, string $method, int $deadline, bool $idempotent): mixed
    {
        $tries = 0;
        $maybeStarted = false;
        while (true) {
            $connection = null;
            try {
                $connection = $this->connection($deadline);
                $reply = $connection->exchange($frame, $id, $deadline);
                $this->pool->give($connection);
                $connection = null;
                $tries++;
                if (!array_key_exists('error', $reply)) {
                    return $reply['result'];
                }
                throw Envelope::error($reply['error']);
            } catch (JackfieldException $failure) {
                $unsent = $failure instanceof ConnectionLostException && !$failure->sent;
                if ($connection !== null) {
                    $this->discard($connection, $unsent);
                    $tries += $unsent ? 0 : 1;
                }
                $delay = $this->retries->delay($failure, $tries, $idempotent, $deadline);
                if ($delay === null) {
                    // An earlier try may have run: that this one did not reach the host makes a retry no safer.
                    throw $maybeStarted && $failure->isRetryable() ? RetryPolicy::unsure($failure) : $failure;
                }
                $maybeStarted = $maybeStarted || !$failure->isRetryable();
                $this->log->retrying($id, $method, $tries, $failure);
                self::sleep($delay);
            }
        }
    }

    /** Closes a connection that failed. One that was dead from its beginning counts as a failure to connect. */
    private function discard(Connection $connection, bool $unsent): void
    {
        $this->pool->drop($connection);
        if ($unsent && !$connection->isProven) {
            $this->pool->connectFailed();
        }
    }

    /**
     * A connection for one exchange. Failing to connect is tried again until the deadline.
     *
     * @throws ConnectException|PoolFullException
     */
    private function connection(int $deadline): Connection
    {
        while (true) {
            $now = hrtime(true);
            $connection = $this->pool->take($now, $deadline);
            if ($connection !== null) {
                return $connection;
            }
            if ($this->pool->isFull()) {
                throw new PoolFullException("all {$this->options->maxConnections} connections are in use");
            }
            $next = max($this->pool->connectAt(), $now);
            if ($next >= $deadline) {
                self::sleep($deadline - $now);
                throw $this->pool->failure()
                    ?? new ConnectException('the host ends every connection at once', 0, true);
            }
            self::sleep($next - $now);
        }
    }

    private static function sleep(int $nanos): void
    {
        if ($nanos > 0) {
            usleep(intdiv($nanos + 999, 1_000));
        }
    }
}
