<?php

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
use Jackfield\Wire\Envelope;
use Jackfield\Wire\Header;

use function array_key_exists, hrtime, intdiv, min, pack, strlen, usleep;

/**
 * Makes sync calls: each uses a connection exclusively for one exchange.
 *
 * @internal
 */
final class SyncCaller
{
    private readonly RetryPolicy $retryPolicy;

    public function __construct(
        private readonly Pool $pool,
        private readonly Options $options,
        private readonly Log $log,
    ) {
        $this->retryPolicy = new RetryPolicy($options);
    }

    /**
     * Calls a method and returns its result.
     *
     * @param string $id    id of the request
     * @param int $started  when the call began, as hrtime(true)
     * @param int $deadline an instant of hrtime(true), in nanoseconds, for all tries together
     *
     * @throws JackfieldException if the call fails
     */
    public function call(
        string $id,
        string $method,
        mixed $params,
        int $started,
        int $deadline,
        bool $idempotent,
    ): mixed {
        $payload = Envelope::request($id, $method, $params, null, $this->options->encodeFlags);
        $frame = Header::SYNC_PREFIX . pack('N', strlen($payload)) . $payload;

        try {
            $result = $this->callWithRetries($frame, $id, $method, $started, $deadline, $idempotent);
        } catch (JackfieldException $failure) {
            if ($this->log->isEnabled) {
                $this->log->syncEnded($id, $method, $started, $failure);
            }
            throw $failure;
        }

        if ($this->log->isEnabled) {
            $this->log->syncEnded($id, $method, $started, null);
        }

        return $result;
    }

    /**
     * Sends a heartbeat and waits for the answer.
     *
     * @return float seconds until the answer
     *
     * @throws JackfieldException if no answer arrives before the deadline
     */
    public function ping(int $started, int $deadline): float
    {
        while (true) {
            $connection = null;
            try {
                $connection = $this->acquireConnection($started, $deadline, 'heartbeat');
                $sent = hrtime(true);
                $connection->heartbeat($started, $deadline);
                $seconds = (hrtime(true) - $sent) / 1e9;
                $this->pool->release($connection);

                return $seconds;
            } catch (JackfieldException $failure) {
                if ($connection === null) {
                    throw $failure;
                }
                // The host may just have closed an idle connection. Another heartbeat is harmless.
                $this->discard($connection, true);
                if (!$failure instanceof ConnectionLostException || hrtime(true) >= $deadline) {
                    throw $failure;
                }
            } catch (\Throwable $thrown) {
                if ($connection !== null) {
                    $this->pool->discard($connection);
                }
                throw $thrown;
            }
        }
    }

    private function callWithRetries(
        string $frame,
        string $id,
        string $method,
        int $started,
        int $deadline,
        bool $idempotent,
    ): mixed {
        $tries = 0;
        $mayHaveStarted = false;

        while (true) {
            $connection = null;
            try {
                $connection = $this->acquireConnection($started, $deadline, $method);
                $reply = $connection->exchange($frame, $id, $method, $started, $deadline);
                $this->pool->release($connection);
                $connection = null;
                $tries++;

                if (!array_key_exists('error', $reply)) {
                    return $reply['result'];
                }
                throw Envelope::error($reply['error'], $method);
            } catch (JackfieldException $failure) {
                $unsent = $failure instanceof ConnectionLostException && !$failure->sent;
                if ($connection !== null) {
                    $this->discard($connection, $unsent);
                    $tries += $unsent ? 0 : 1;
                }

                $delay = $this->retryPolicy->delay($failure, $tries, $idempotent, $deadline);
                if ($delay === null) {
                    // An earlier try may have run. A retry by the caller would not be safe, even if
                    // this try did not reach the host.
                    throw $mayHaveStarted && $failure->isRetryable()
                        ? RetryPolicy::lostEarlier($method, $failure)
                        : $failure;
                }

                $mayHaveStarted = $mayHaveStarted || !$failure->isRetryable();
                $this->log->retrying($id, $method, $tries, $failure);
                self::sleep($delay);
            } catch (\Throwable $thrown) {
                // A signal handler of the program has thrown, such as the time-out of a job. Nobody
                // waits for the reply any more.
                if ($connection !== null) {
                    $this->pool->discard($connection);
                }
                throw $thrown;
            }
        }
    }

    /**
     * Closes a connection that failed.
     *
     * A new connection that failed before it took a request counts as a failure to connect.
     */
    private function discard(Connection $connection, bool $unsent): void
    {
        $this->pool->discard($connection);
        if ($unsent && !$connection->hasServed) {
            $this->pool->recordConnectFailure();
        }
    }

    /**
     * Returns a connection for one exchange.
     *
     * Connecting is retried for Options::$connectTimeout. If the host closes new connections
     * immediately, it is retried until the deadline.
     *
     * @param int    $started when the call began, as hrtime(true)
     * @param string $subject the method, or `heartbeat`; for error messages
     *
     * @throws ConnectException|PoolFullException
     */
    private function acquireConnection(int $started, int $deadline, string $subject): Connection
    {
        $mayWait = null;
        while (true) {
            $now = hrtime(true);
            try {
                $connection = $this->pool->acquire($now, $deadline);
            } catch (ConnectException) {
                throw $this->pool->connectFailure($subject, $started, $deadline);
            }
            if ($connection !== null) {
                return $connection;
            }

            if ($this->pool->isFull()) {
                throw new PoolFullException(
                    "$subject: all {$this->options->maxConnections} connections are in use"
                    . ' (raise the option maxConnections)'
                );
            }

            $limit = $deadline;
            if ($this->pool->isHostDown()) {
                $mayWait ??= $this->pool->mayWaitForHost($now);
                $connectDeadline = $mayWait ? $this->pool->connectDeadline($started) : $now;
                $limit = min($deadline, $connectDeadline);
            }

            $next = $this->pool->nextConnectAt();
            if ($next >= $limit) {
                self::sleep($limit - $now);
                if ($mayWait === true) {
                    $this->pool->recordWait($started);
                }
                throw $this->pool->connectFailure($subject, $started, $deadline);
            }
            self::sleep($next - $now);
        }
    }

    private static function sleep(int $nanos): void
    {
        if ($nanos > 0) {
            $micros = intdiv($nanos + 999, 1_000);
            usleep($micros);
        }
    }
}
