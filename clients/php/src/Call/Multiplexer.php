<?php

declare(strict_types=1);

namespace Jackfield\Call;

use Jackfield\Exception\CancelledException;
use Jackfield\Exception\JackfieldException;
use Jackfield\Exception\PoolFullException;
use Jackfield\Future;
use Jackfield\Log;
use Jackfield\Options;
use Jackfield\Pool\Pool;
use Jackfield\Process;
use Jackfield\Uuid;
use Jackfield\Wire\Envelope;

use function count, current, hrtime, is_object, max, min;

/**
 * Makes async calls: many at a time on each connection, matched to their replies by id.
 *
 * The only wait is in tick(), and only streams that are ready are read or written. Therefore no
 * number of large requests can lead to a deadlock in which client and host both wait until the
 * other one reads.
 *
 * @internal
 */
final class Multiplexer
{
    /** Number of calls submitted with `$isCorked` that are sent without flush(). */
    private const MAX_CORKED = 256;

    private readonly Dispatcher $dispatcher;

    public readonly Callbacks $callbacks;

    /**
     * @var array<string, Call> calls without an outcome by id, in the order of submission, which is
     *                          nearly always the order of their deadlines. The internal pointer
     *                          stays at the first call, as in Queue
     */
    private array $pending = [];

    /** Latest deadline of the calls submitted since `pending` was last empty. */
    private int $latestDeadline = 0;

    /** Calls with an earlier deadline than one submitted before them; null until the first one. */
    private ?TimerHeap $outOfOrder = null;

    /** Calls ended since the multiplexer was created. */
    private int $endedCalls = 0;

    public function __construct(
        private readonly Pool $pool,
        private readonly Options $options,
        public readonly Log $log,
    ) {
        $this->callbacks = new Callbacks($log);
        $this->dispatcher = new Dispatcher($pool, $options, $log, $this);
    }

    /**
     * Submits a call.
     *
     * @param int      $started   when the call began, as hrtime(true)
     * @param int      $deadline  an instant of hrtime(true), in nanoseconds
     * @param int|null $timestamp `timestamp` member of the request, in seconds
     * @param bool     $isCorked  whether the call may wait for flush(), so that few writes send
     *                            many calls
     * @param string   $members   further members of the envelope, from RequestMembers
     *
     * @throws JackfieldException if the request cannot be encoded, or if too many calls are queued
     */
    public function submit(
        string $method,
        mixed $params,
        int $started,
        int $deadline,
        bool $idempotent,
        ?int $timestamp = null,
        bool $isCorked = false,
        string $members = '',
    ): Future {
        $id = Uuid::v4();
        if ($this->pool->process !== Process::$last) {
            $this->abandonCallsOfParent();
        }
        $bytes = is_object($params) ? BytesCall::of($params) : null;
        if ($bytes !== null) {
            $params = $bytes->params;
        }
        $envelope = Envelope::request($id, $method, $params, $timestamp, $this->options->encodeFlags);
        if ($members !== '') {
            $envelope .= $members;
        }
        $call = new Call($id, $method, $envelope, $deadline, $idempotent, $started, $this, $bytes);
        $future = $call->future;

        if ($deadline >= $this->latestDeadline || $this->pending === []) {
            $this->latestDeadline = $deadline;
        } else {
            $this->outOfOrder ??= new TimerHeap();
            $this->outOfOrder->add($deadline, $call, count($this->pending));
        }
        $this->pending[$id] = $call;

        try {
            if ($this->log->isEnabled) {
                $this->log->asyncSent($call->id, $call->method);
            }

            $queue = $this->dispatcher->queue;
            $queue->add($call);
            $waiting = $queue->count();
            if (!$isCorked || $waiting >= self::MAX_CORKED) {
                $now = hrtime(true);
                $this->dispatcher->send($now);
                $waiting = $queue->count();
            }

            if ($waiting > $this->options->maxQueued && !$call->hasEnded()) {
                throw new PoolFullException(
                    "{$call->method}: {$this->options->maxQueued} calls already wait for a connection"
                    . ' (raise the option maxQueued, or await results before calling again)'
                );
            }

            while ($queue->bytes > $this->options->maxUnsentBytes && !$call->hasEnded()) {
                $this->tick($call->deadline);
            }
        } catch (\Throwable $thrown) {
            // The caller gets no future. An exception of a signal handler may come at any point.
            if (!$call->hasEnded()) {
                $sent = $this->dispatcher->withdraw($call, true);
                $failure = $thrown instanceof JackfieldException
                    ? $thrown
                    : new CancelledException("$method: an exception ended the submission", $sent);
                $this->end($call, null, $failure);
            }
            throw $thrown;
        }

        return $future;
    }

    /**
     * Sends the calls that were submitted with `$isCorked`.
     */
    public function flush(): void
    {
        $now = hrtime(true);
        $this->dispatcher->send($now);
    }

    /**
     * Ticks until the queue has space for another call, or until the deadline.
     */
    public function awaitQueueSpace(int $deadline): void
    {
        while ($this->dispatcher->queue->count() >= max(1, $this->options->maxQueued) && hrtime(true) < $deadline) {
            $this->tick($deadline);
        }
    }

    /**
     * Cancels a call.
     *
     * @return bool false if it had ended
     */
    public function cancel(Call $call): bool
    {
        if ($call->hasEnded()) {
            return false;
        }

        $sent = $this->dispatcher->withdraw($call, true);
        $this->end($call, null, new CancelledException("{$call->method}: the call was cancelled", $sent));
        $this->flush();
        $this->callbacks->run();

        return true;
    }

    /**
     * Sends and receives, ends the calls whose deadline passed, and runs callbacks.
     *
     * @param int $until until when to wait for a ready stream, as hrtime(true)
     *
     * @return int number of calls that ended
     */
    public function tick(int $until): int
    {
        if ($this->pool->process !== Process::id()) {
            $this->abandonCallsOfParent();
        }
        $before = $this->endedCalls;

        $now = hrtime(true);
        $this->expireDue($now);
        $this->dispatcher->send($now);

        if (!$this->callbacks->isEmpty() || $this->endedCalls > $before) {
            $until = 0;
        }
        $due = $this->nextDue() ?? $until;
        $until = min($until, $due);
        $this->dispatcher->exchange($until);

        $now = hrtime(true);
        $this->expireDue($now);
        $this->callbacks->run();

        return $this->endedCalls - $before;
    }

    /**
     * Waits until a future is done: ticks, or suspends the current fiber (Options::$fibers).
     */
    public function await(Future $future): void
    {
        $fiber = $this->options->fibers ? \Fiber::getCurrent() : null;
        if ($fiber !== null) {
            $this->callbacks->suspend($fiber, $future);

            return;
        }

        while (!$future->isDone()) {
            if ($this->pending === [] && $this->callbacks->isEmpty()) {
                throw new \LogicException('Future::await(): the outcome of this future depends on itself');
            }
            $this->tick(PHP_INT_MAX);
        }
    }

    /**
     * Returns whether no call is pending and no connection is in use by async calls.
     */
    public function isIdle(): bool
    {
        return $this->pending === [] && $this->dispatcher->isIdle();
    }

    /**
     * Returns the number of calls without an outcome.
     */
    public function pending(): int
    {
        return count($this->pending);
    }

    /**
     * Returns when tick() has work even if no stream is ready, as hrtime(true); null: never.
     */
    public function nextDue(): ?int
    {
        $deadline = $this->firstToExpire()?->deadline;
        $due = $this->dispatcher->nextDue();

        return $deadline === null || $due === null ? $deadline ?? $due : min($deadline, $due);
    }

    /** @return array{read: list<resource>, write: list<resource>} */
    public function streams(): array
    {
        return $this->dispatcher->streams();
    }

    /**
     * Ends every call because the client is being closed.
     *
     * @param bool $inDestructor whether a destructor calls this; no fiber is resumed then
     */
    public function close(bool $inDestructor = false): void
    {
        $this->callbacks->isDestroyed = $inDestructor;
        foreach ($this->pending as $call) {
            $sent = $this->dispatcher->withdraw($call, false);
            $this->end($call, null, new CancelledException("{$call->method}: the client was closed", $sent));
        }

        $this->dispatcher->reset();
        $this->callbacks->run();
    }

    /**
     * Ends a call that the dispatcher no longer refers to.
     */
    public function end(Call $call, mixed $result, ?JackfieldException $failure): void
    {
        // First, because a signal handler may throw: the call then stays pending and ends later.
        $call->future?->settle($result, $failure);

        $call->future = null;
        $call->connection = null;
        $call->envelope = '';
        $call->bytes = null;
        unset($this->pending[$call->id]);
        $this->endedCalls++;
        if ($this->log->isEnabled) {
            $this->log->asyncEnded($call->id, $call->method, $call->started, $failure);
        }
    }

    /**
     * Ends the pending calls because the process was forked after they were submitted: their
     * replies belong to the parent process.
     */
    public function abandonCallsOfParent(): void
    {
        $this->pool->resetAfterFork();
        $this->dispatcher->reset();
        foreach ($this->pending as $call) {
            $call->connection = null;
            $this->end($call, null, new CancelledException(
                "{$call->method}: the call was made before fork() and belongs to the parent process",
                true
            ));
        }
    }

    private function expireDue(int $now): void
    {
        while (($call = $this->firstToExpire()) !== null && $call->deadline <= $now) {
            $this->end($call, null, $this->dispatcher->expire($call));
        }
    }

    /**
     * Returns the call with the earliest deadline, or null if no call is pending.
     *
     * It is the first of `pending` or the first of `outOfOrder`: a call that is not in `outOfOrder`
     * has no earlier deadline than the calls submitted before it.
     */
    private function firstToExpire(): ?Call
    {
        $first = current($this->pending) ?: null;
        $outOfOrder = $this->outOfOrder?->first();

        return $first === null || $outOfOrder === null || $first->deadline <= $outOfOrder->deadline
            ? $first
            : $outOfOrder;
    }
}
