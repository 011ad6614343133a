<?php

declare(strict_types=1);

namespace Jackfield\Call;

use Jackfield\Exception\ConnectException;
use Jackfield\Exception\ConnectionLostException;
use Jackfield\Exception\GoingAwayException;
use Jackfield\Exception\JackfieldException;
use Jackfield\Exception\PoolFullException;
use Jackfield\Exception\RemoteException;
use Jackfield\Exception\UnsupportedException;
use Jackfield\Log;
use Jackfield\Options;
use Jackfield\Pool\Connection;
use Jackfield\Pool\Pool;
use Jackfield\Wire\Envelope;

use function array_key_exists, hrtime, intdiv, is_object, min, usleep;

/**
 * Makes sync calls: each uses a connection exclusively for one exchange.
 *
 * @internal
 */
final class SyncCaller
{
    /** Timing in the reply to the last call, as Timing::parse() reads it; '' if it has none. */
    public string $timing = '';

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
     * @param string $id       id of the request
     * @param string $members  further members of the envelope, from RequestMembers
     * @param int    $started  when the call began, as hrtime(true)
     * @param int    $deadline an instant of hrtime(true), in nanoseconds, for all tries together
     *
     * @throws JackfieldException if the call fails
     */
    public function call(
        string $id,
        string $method,
        mixed $params,
        string $members,
        int $started,
        int $deadline,
        bool $idempotent,
    ): mixed {
        $bytes = is_object($params) ? BytesCall::of($params) : null;
        if ($bytes !== null) {
            $params = $bytes->params;
        }
        $envelope = Envelope::request($id, $method, $params, null, $this->options->encodeFlags);
        if ($members !== '') {
            $envelope .= $members;
        }

        try {
            $result = $this->callWithRetries($envelope, $bytes, $id, $method, $started, $deadline, $idempotent);
            if ($bytes !== null) {
                $result = $bytes->result($result, $method);
            }
        } catch (JackfieldException $failure) {
            if (!$failure instanceof RemoteException) {
                $this->timing = '';
            }
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
        string $envelope,
        ?BytesCall $bytes,
        string $id,
        string $method,
        int $started,
        int $deadline,
        bool $idempotent,
    ): mixed {
        $tries = 0;
        $refusals = 0;
        $mayHaveStarted = false;

        while (true) {
            $connection = null;
            try {
                $connection = $this->acquireConnection($started, $deadline, $method);
                if ($bytes !== null && !$connection->acceptsBytes($started, $deadline)) {
                    $this->pool->release($connection);
                    $connection = null;
                    throw UnsupportedException::bytes($method);
                }
                $reply = $connection->exchange($envelope, $bytes, $id, $method, $started, $deadline);
                $this->timing = $connection->reader->timing;
                $this->pool->release($connection);
                $used = $connection;
                $connection = null;
                $tries++;

                if (!array_key_exists('error', $reply)) {
                    return $reply['result'];
                }
                throw ReplyFailure::of($reply['error'], $method, $started, $deadline, $used, $this->options);
            } catch (JackfieldException $failure) {
                $unsent = $failure instanceof ConnectionLostException && !$failure->sent;
                if ($connection !== null) {
                    $this->discard($connection, $unsent);
                    $tries += $unsent ? 0 : 1;
                }
                if ($failure instanceof GoingAwayException) {
                    $tries--;
                    $refusals++;
                }

                $delay = $this->retryPolicy->delay($failure, $tries, $refusals, $idempotent, $deadline);
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
                $this->timing = '';
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
