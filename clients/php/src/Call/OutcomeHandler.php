<?php

declare(strict_types=1);

namespace Jackfield\Call;

use Jackfield\Duration;
use Jackfield\Exception\ConnectionLostException;
use Jackfield\Exception\GoingAwayException;
use Jackfield\Exception\JackfieldException;
use Jackfield\Exception\PoolFullException;
use Jackfield\Exception\RemoteException;
use Jackfield\Exception\TimeoutException;
use Jackfield\Exception\UnreadableReplyException;
use Jackfield\Log;
use Jackfield\Options;
use Jackfield\Pool\Connection;
use Jackfield\Pool\Pool;

use function array_key_exists, get_class, hrtime;

/**
 * Ends or retries async calls after a reply, the loss of a connection, or a deadline.
 *
 * @internal
 */
final class OutcomeHandler
{
    /** Phases of TimeoutException of a request that was not sent, and of one that was. */
    private const PHASES = [TimeoutException::WRITE, TimeoutException::WAIT];

    private readonly RetryPolicy $retryPolicy;

    public function __construct(
        private readonly Queue $queue,
        private readonly Pool $pool,
        private readonly Multiplexer $multiplexer,
        private readonly Log $log,
        private readonly Options $options,
    ) {
        $this->retryPolicy = new RetryPolicy($options);
    }

    /**
     * Handles the reply to a call that is no longer in flight on its connection.
     *
     * @param array{result?: mixed, error?: mixed} $reply
     */
    public function handleReply(Call $call, array $reply): void
    {
        if (array_key_exists('error', $reply)) {
            $failure = ReplyFailure::of(
                $reply['error'],
                $call->method,
                $call->started,
                $call->deadline,
                $call->connection,
                $this->options
            );
            if ($failure instanceof GoingAwayException) {
                $call->refusals++;
            } else {
                $call->tries++;
            }
            $this->handleFailure($call, $failure);
        } elseif ($call->bytes === null) {
            $this->multiplexer->end($call, $reply['result'], null);
        } else {
            try {
                $result = $call->bytes->result($reply['result'], $call->method);
            } catch (UnreadableReplyException $failure) {
                $this->multiplexer->end($call, null, $failure);

                return;
            }
            $this->multiplexer->end($call, $result, null);
        }
    }

    /**
     * Handles the calls in flight on a connection that was lost.
     *
     * @param \Throwable|null $reason the error that ended the connection, or the exception of a
     *                                signal handler because of which the client closed it; null if
     *                                the peer closed it without an error
     */
    public function handleConnectionLoss(Connection $connection, ?\Throwable $reason): void
    {
        $interruption = $reason instanceof JackfieldException ? null : $reason;
        $because = $interruption === null ? '' : ', because ' . get_class($interruption)
            . " was thrown while the client used it: {$interruption->getMessage()}";

        foreach ($connection->inFlight as $call) {
            if ($call->connection !== $connection) {
                // Its reply was handled when the exception was thrown.
                continue;
            }

            $sent = $connection->hasSent($call);
            $call->tries += $sent ? 1 : 0;

            // An error that the host sent for the connection applies to every call. Any other
            // reason applies only to calls that were sent.
            $when = $sent ? 'before the reply arrived' : 'before the request was sent';
            $failure = $reason instanceof JackfieldException && ($sent || $reason instanceof RemoteException)
                ? $reason
                : new ConnectionLostException(
                    "{$call->method}: the connection was closed $when$because",
                    $sent,
                    $interruption
                );
            $this->handleFailure($call, $failure);
        }
        $connection->inFlight = [];
    }

    /**
     * Sends a failed call again if the retry policy allows it, and ends it otherwise.
     */
    public function handleFailure(Call $call, JackfieldException $failure): void
    {
        if ($call->future === null || $call->future->isDone()) {
            // A signal handler has thrown when the call had ended already.
            $this->multiplexer->end($call, null, null);

            return;
        }

        $delay = $this->retryPolicy->delay(
            $failure,
            $call->tries,
            $call->refusals,
            $call->idempotent,
            $call->deadline
        );
        if ($delay === null) {
            $this->multiplexer->end($call, null, self::finalFailure($call, $failure));

            return;
        }

        $call->connection = null;
        $call->mayHaveStarted = $call->mayHaveStarted || !$failure->isRetryable();
        $this->log->retrying($call->id, $call->method, $call->tries, $failure);

        if ($delay === 0) {
            $this->queue->add($call);
        } else {
            $at = hrtime(true) + $delay;
            $this->queue->addDelayed($call, $at, $this->multiplexer->pending());
        }
    }

    /**
     * Returns the failure of a call whose deadline passed; it depends on what the call waited for.
     *
     * @param bool|null $sent whether its complete frame was sent; null if it had no connection
     */
    public function deadlineFailure(Call $call, ?bool $sent): JackfieldException
    {
        if ($sent === null && $this->pool->isHostDown()) {
            return $this->connectFailure($call);
        }
        if ($sent === null && $this->pool->isFull()) {
            $duration = Duration::ofCall($call->started, $call->deadline);
            $failure = new PoolFullException(
                "{$call->method}: the deadline passed before a connection had capacity for the request ($duration;"
                . ' raise the option maxConnections or maxInFlightPerConnection)'
            );

            return self::finalFailure($call, $failure);
        }

        // Of a frame that is being written, the rest stays in the output of the connection, from
        // which it cannot be removed. The host may therefore receive it later.
        $text = match ($sent) {
            true => 'before the reply arrived',
            false => 'while the request was being written',
            null => 'before the request was sent',
        };
        $failure = TimeoutException::of(
            "{$call->method}: the deadline passed $text",
            $call->started,
            $call->deadline,
            self::PHASES[(int) $sent],
            $sent !== null
        );

        return self::finalFailure($call, $failure);
    }

    /**
     * Returns the failure of a call for which no connection could be made.
     */
    public function connectFailure(Call $call): JackfieldException
    {
        $failure = $this->pool->connectFailure($call->method, $call->started, $call->deadline);

        return self::finalFailure($call, $failure);
    }

    /**
     * Returns the failure to report. If an earlier try may have run, the failure is reported as not
     * retryable.
     */
    private static function finalFailure(Call $call, JackfieldException $failure): JackfieldException
    {
        return $call->mayHaveStarted && $failure->isRetryable()
            ? RetryPolicy::lostEarlier($call->method, $failure)
            : $failure;
    }
}
