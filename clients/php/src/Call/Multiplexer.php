<?php

/**
 * Async calls: many on each connection, matched to their replies by id.
 *
 * Nothing here blocks but the one wait in tick(), and nothing is read or written that is not ready: so no number of
 * large requests can leave client and host both waiting for the other to read.
 */

declare(strict_types=1);

namespace Jackfield\Call;

use Jackfield\Exception\CancelledException;
use Jackfield\Exception\JackfieldException;
use Jackfield\Exception\PoolFullException;
use Jackfield\Future;
use Jackfield\Log;
use Jackfield\Options;
use Jackfield\Pool\Pool;
use Jackfield\Uuid;
use Jackfield\Wire\Envelope;
use Jackfield\Wire\Header;

use function count, current, hrtime, max, min, pack, strlen;

final class Multiplexer
{
    /** Calls that are collected at most, before what can be sent is sent. */
    private const CORKED = 256;

    private readonly Traffic $traffic;
    /** @var \SplQueue<array{string, \Closure(): void}> callbacks of calls that ended, with the call's id */
    private \SplQueue $callbacks;
    /**
     * @var array<string, Call> calls without an outcome, by id, in the order in which they came, which is nearly always
     *                          that of their deadlines. The internal pointer stands at the first, as in Queue
     */
    private array $alive = [];
    /** The latest deadline since the last time when no call was alive. */
    private int $latest = 0;
    /** Calls whose deadline comes before that of one that came before them; null until there is such a one. */
    private ?Timetable $early = null;
    /** Calls ended since the multiplexer was made. */
    private int $ended = 0;
    /** While positive, new calls are collected and not yet sent. */
    private int $corks = 0;

    public function __construct(
        private readonly Pool $pool,
        private readonly Options $options,
        public readonly Log $log,
    ) {
        $this->callbacks = new \SplQueue();
        $this->traffic = new Traffic($pool, $options, $log, $this);
    }

    /**
     * Begins a call.
     *
     * @param int      $deadline  an instant of hrtime(true), nanoseconds
     * @param int|null $timestamp the envelope's own, seconds
     * @throws JackfieldException if the request cannot be written, or too many wait already
     */
    public function submit(string $method, mixed $params, int $deadline, bool $idempotent, ?int $timestamp = null): Future
    {
        $this->checkProcess();
        $id = Uuid::v4();
        $payload = Envelope::request($id, $method, $params, $timestamp);
        $frame = Header::ASYNC_HEAD . pack('N', strlen($payload)) . $payload;
        $now = hrtime(true);
        $call = new Call($id, $method, $frame, $deadline, $idempotent, $now, $this);
        $future = $call->future;
        if ($deadline >= $this->latest || $this->alive === []) {
            $this->latest = $deadline;
        } else {
            $this->early ??= new Timetable();
            $this->early->add($deadline, $call, count($this->alive));
        }
        $this->alive[$id] = $call;
        if ($this->log->isKept) {
            $this->log->asyncSent($id, $method);
        }
        $queue = $this->traffic->queue;
        $queue->add($call);
        $waiting = $queue->count();
        if ($this->corks === 0 || $waiting >= self::CORKED) {
            $this->traffic->send($now);
            $waiting = $queue->count();
        }
        if ($waiting > $this->options->maxQueued && !$call->hasEnded()) {
            $full = new PoolFullException("{$this->options->maxQueued} calls are waiting for a connection already");
            $this->traffic->withdraw($call);
            $this->end($call, null, $full);
            throw $full;
        }
        while ($queue->bytes > $this->options->maxUnsentBytes && !$call->hasEnded()) {
            $this->tick($call->deadline);
        }

        return $future;
    }

    /** Collects what the function submits, so that it leaves in as few writes as possible. */
    public function corked(\Closure $submit): mixed
    {
        $this->corks++;
        try {
            return $submit();
        } finally {
            if (--$this->corks === 0) {
                $this->traffic->send(hrtime(true));
            }
        }
    }

    /** Ticks until another call may wait for its turn, or the deadline is there. */
    public function awaitRoom(int $deadline): void
    {
        while ($this->traffic->queue->count() >= max(1, $this->options->maxQueued) && hrtime(true) < $deadline) {
            $this->tick($deadline);
        }
    }

    public function cancel(Call $call): bool
    {
        if ($call->hasEnded()) {
            return false;
        }
        $sent = $this->traffic->withdraw($call);
        $this->end($call, null, new CancelledException("the call of {$call->method} was cancelled", $sent));
        $this->runCallbacks();

        return true;
    }

    /**
     * Sends, receives, ends what is due and runs callbacks, waiting for at most until `$until`.
     *
     * @param int $until an instant of hrtime(true), nanoseconds
     * @return int calls that ended
     */
    public function tick(int $until): int
    {
        $this->checkProcess();
        $before = $this->ended;
        $now = hrtime(true);
        $this->expire($now);
        $this->traffic->send($now);
        if (!$this->callbacks->isEmpty()) {
            $until = 0;
        }
        $this->traffic->exchange(min($until, $this->nextDue() ?? $until));
        $this->expire(hrtime(true));
        $this->runCallbacks();

        return $this->ended - $before;
    }

    /** Ticks until a future is done, or lets the fiber wait for it while others run. */
    public function drive(Future $future): void
    {
        $fiber = $this->options->fibers ? \Fiber::getCurrent() : null;
        if ($fiber !== null) {
            $future->whenDone(static function () use ($fiber): void {
                $fiber->resume();
            });
            \Fiber::suspend();

            return;
        }
        while (!$future->isDone()) {
            if ($this->alive === [] && $this->callbacks->isEmpty()) {
                throw new \LogicException('await() of a future that waits for itself');
            }
            $this->tick(PHP_INT_MAX);
        }
    }

    /** Whether no call is alive and no connection owes a reply. */
    public function isIdle(): bool
    {
        return $this->alive === [] && $this->traffic->isIdle();
    }

    /** Calls without an outcome. */
    public function pending(): int
    {
        return count($this->alive);
    }

    /** When tick() has something to do even if no stream is ready, as hrtime(true); null: never. */
    public function nextDue(): ?int
    {
        $deadline = $this->firstToExpire()?->deadline;
        $due = $this->traffic->nextDue();

        return $deadline === null || $due === null ? $deadline ?? $due : min($deadline, $due);
    }

    /** @return array{read: list<resource>, write: list<resource>} */
    public function streams(): array
    {
        return $this->traffic->streams();
    }

    /** Ends every call: the client is being closed. */
    public function close(string $reason): void
    {
        foreach ($this->alive as $call) {
            $sent = $this->traffic->withdraw($call);
            $this->end($call, null, new CancelledException($reason, $sent));
        }
        $this->traffic->forget();
        $this->runCallbacks();
    }

    /** @internal the outcome of a call that Traffic has let go of */
    public function end(Call $call, mixed $result, ?JackfieldException $failure): void
    {
        $call->connection = null;
        $call->frame = '';
        unset($this->alive[$call->id]);
        $this->ended++;
        if ($this->log->isKept) {
            $this->log->asyncDone($call->id, $call->method, $call->started, $failure);
        }
        $future = $call->future;
        $call->future = null;
        $future?->settle($result, $failure);
    }

    /**
     * @internal
     * @param list<\Closure(): void> $callbacks
     */
    public function later(string $id, array $callbacks): void
    {
        foreach ($callbacks as $callback) {
            $this->callbacks->enqueue([$id, $callback]);
        }
    }

    /** @internal what the parent of this process had under way is left to it */
    public function checkProcess(): void
    {
        if ($this->pool->hasForked()) {
            $this->traffic->forget();
            foreach ($this->alive as $call) {
                $call->connection = null;
                $this->end($call, null, new CancelledException('the call belongs to the parent process', true));
            }
        }
    }

    private function expire(int $now): void
    {
        while (($call = $this->firstToExpire()) !== null && $call->deadline <= $now) {
            $this->end($call, null, $this->traffic->expire($call));
        }
    }

    /**
     * The call with the first deadline, null if there is none. All that came after the first of `alive` and are not in
     * `early` have a later deadline than that one, whether it is in `early` itself or not.
     */
    private function firstToExpire(): ?Call
    {
        $first = current($this->alive) ?: null;
        $early = $this->early?->first();

        return $first === null || $early === null || $first->deadline <= $early->deadline ? $first : $early;
    }

    private function runCallbacks(): void
    {
        while (!$this->callbacks->isEmpty()) {
            [$id, $callback] = $this->callbacks->dequeue();
            try {
                $callback();
            } catch (\Throwable $thrown) {
                $this->log->callbackThrew($id, $thrown);
            }
        }
    }
}
