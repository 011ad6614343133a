<?php

/**
 * What becomes of a call: a reply, a lost connection, a deadline; and whether it is sent again instead.
 */

declare(strict_types=1);

namespace Jackfield\Call;

use Jackfield\Exception\ConnectionLostException;
use Jackfield\Exception\JackfieldException;
use Jackfield\Exception\PoolFullException;
use Jackfield\Exception\RemoteException;
use Jackfield\Exception\TimeoutException;
use Jackfield\Log;
use Jackfield\Options;
use Jackfield\Pool\Connection;
use Jackfield\Pool\Pool;
use Jackfield\Wire\Envelope;

use function array_key_exists, hrtime;

final class Outcomes
{
    private readonly RetryPolicy $retries;

    public function __construct(
        private readonly Queue $queue,
        private readonly Pool $pool,
        private readonly Multiplexer $multiplexer,
        private readonly Log $log,
        Options $options,
    ) {
        $this->retries = new RetryPolicy($options);
    }

    /**
     * The reply to a call that its connection has let go of.
     *
     * @param array{result?: mixed, error?: mixed} $reply
     */
    public function replied(Call $call, array $reply): void
    {
        if (array_key_exists('error', $reply)) {
            $call->tries++;
            $this->failed($call, Envelope::error($reply['error']));
        } else {
            $this->multiplexer->end($call, $reply['result'], null);
        }
    }

    /**
     * Every call of a connection that is gone.
     *
     * @param JackfieldException|null $reason what ended it; null: the peer did, without a word
     */
    public function lost(Connection $connection, ?JackfieldException $reason): void
    {
        $calls = $connection->inFlight;
        $connection->inFlight = [];
        foreach ($calls as $call) {
            $sent = $connection->hasSent($call);
            $call->tries += $sent ? 1 : 0;
            // What the host said about the connection holds for every call; any other end spares what was not sent.
            $failure = $reason !== null && ($sent || $reason instanceof RemoteException)
                ? $reason
                : new ConnectionLostException(
                    $sent ? 'the connection ended before the reply came' : 'the connection ended before the request was sent',
                    $sent
                );
            $this->failed($call, $failure);
        }
    }

    /** A failure: the call is sent again if that is allowed, else it ends. */
    public function failed(Call $call, JackfieldException $failure): void
    {
        $delay = $this->retries->delay($failure, $call->tries, $call->idempotent, $call->deadline);
        if ($delay === null) {
            $unsure = $call->maybeStarted && $failure->isRetryable();
            $this->multiplexer->end($call, null, $unsure ? RetryPolicy::unsure($failure) : $failure);

            return;
        }
        $call->connection = null;
        $call->maybeStarted = $call->maybeStarted || !$failure->isRetryable();
        $this->log->retrying($call->id, $call->method, $call->tries, $failure);
        if ($delay === 0) {
            $this->queue->add($call);
        } else {
            $this->queue->addLater($call, hrtime(true) + $delay, $this->multiplexer->pending());
        }
    }

    /**
     * The failure of a call whose deadline passed: what it was waiting for.
     *
     * @param bool|null $sent whether its frame was sent in whole; null: it had no connection
     */
    public function expired(Call $call, ?bool $sent): JackfieldException
    {
        $failure = match (true) {
            $sent === true => new TimeoutException(
                "the deadline passed before the reply to {$call->method} came",
                TimeoutException::WAIT,
                true
            ),
            // It stays in the connection's output, which cannot be taken back in part.
            $sent === false => new TimeoutException(
                "the deadline passed while {$call->method} was written",
                TimeoutException::WRITE,
                true
            ),
            $this->pool->failure() !== null => $this->pool->failure(),
            $this->pool->isFull() => new PoolFullException(
                "the deadline of {$call->method} passed before a connection had room for it"
            ),
            default => new TimeoutException(
                "the deadline passed before {$call->method} was sent",
                TimeoutException::WRITE,
                false
            ),
        };

        return $call->maybeStarted && $failure->isRetryable() ? RetryPolicy::unsure($failure) : $failure;
    }
}
