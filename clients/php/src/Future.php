<?php

declare(strict_types=1);

namespace Jackfield;

use Jackfield\Call\Call;
use Jackfield\Call\Multiplexer;

/**
 * The outcome of an async call, which may not be known yet.
 */
final class Future
{
    private bool $done = false;
    private mixed $result = null;
    private ?\Throwable $failure = null;

    /** @var list<\Closure(): void> */
    private array $callbacks = [];

    /** @internal the timing in the reply, as Timing::parse() reads it */
    public string $timing = '';

    /** Keeps the client alive until the outcome is known; the program may drop its reference. */
    private ?object $owner = null;

    /** Whether a callback threw the failure and nobody has received it yet. */
    private bool $isUnreported = false;

    /**
     * @internal Client::callAsync() creates futures
     *
     * @param Call|null $call the call that has not ended; null for a future that then() returns
     * @param string    $id   id of the request
     */
    public function __construct(
        private readonly Multiplexer $multiplexer,
        private ?Call $call,
        private readonly string $id,
    ) {
    }

    /**
     * Returns the id of the request.
     */
    public function id(): string
    {
        return $this->id;
    }

    /**
     * Returns whether the outcome is known.
     */
    public function isDone(): bool
    {
        return $this->done;
    }

    /**
     * Returns how long the host needed for the request.
     *
     * @return Timing|null null if no reply has arrived, if the host sends no timings, for the first
     *                     calls of a connection, and for a future that then() returned
     */
    public function timing(): ?Timing
    {
        return Timing::parse($this->timing);
    }

    /**
     * Waits for the outcome and returns the result.
     *
     * All other async calls of the client continue meanwhile. There is no time-out: the deadline of
     * the call ends the wait.
     *
     * @throws Exception\JackfieldException if the call failed
     */
    public function await(): mixed
    {
        if (!$this->done) {
            $this->multiplexer->await($this);
        }

        $this->isUnreported = false;
        if ($this->failure !== null) {
            throw $this->failure;
        }

        return $this->result;
    }

    /**
     * Registers callbacks, of which one is called once with the outcome.
     *
     * If the outcome is known, then() calls the callback itself. Otherwise tick(), run() or any
     * await() calls it.
     *
     * @param (callable(mixed): mixed)|null      $onResult  receives the result
     * @param (callable(\Throwable): mixed)|null $onFailure receives the exception
     *
     * @return self the outcome of the callback: the value that it returns (a returned future is
     *              awaited), or the exception that it throws. Without a callback for the outcome:
     *              the outcome itself
     */
    public function then(?callable $onResult, ?callable $onFailure = null): self
    {
        $next = new self($this->multiplexer, null, $this->id);
        $isBegun = false;

        $this->whenDone(function () use ($next, $onResult, $onFailure, &$isBegun): void {
            $callback = $this->failure === null ? $onResult : $onFailure;
            $this->isUnreported = false;
            if ($callback === null) {
                $next->settle($this->result, $this->failure);

                return;
            }
            if ($isBegun) {
                return;
            }

            $isBegun = true;
            try {
                $argument = $this->failure ?? $this->result;
                $outcome = $callback($argument);
            } catch (\Throwable $thrown) {
                $next->isUnreported = true;
                $next->settle(null, $thrown);

                return;
            }

            if ($outcome instanceof self) {
                $outcome->whenDone(static fn () => $next->settle($outcome->result, $outcome->failure));
            } else {
                $next->settle($outcome, null);
            }
        });

        return $next;
    }

    /**
     * Cancels the call.
     *
     * A request that was not sent is never sent. If a request was sent, its reply is ignored, and a
     * host of version 1.2 is asked to end it.
     *
     * @return bool false if the outcome was already known
     */
    public function cancel(): bool
    {
        return $this->call !== null && $this->multiplexer->cancel($this->call);
    }

    /**
     * Calls a function when the outcome is known.
     *
     * @internal
     *
     * @param \Closure(): void $callback a function for which a second call is harmless
     */
    public function whenDone(\Closure $callback): void
    {
        if ($this->done) {
            $callback();
        } else {
            $this->callbacks[] = $callback;
        }
    }

    /**
     * Keeps an object alive until the outcome is known.
     *
     * @internal
     */
    public function ownedBy(object $owner): self
    {
        $this->owner = $this->done ? null : $owner;

        return $this;
    }

    /**
     * Sets the outcome and runs, or enqueues, the callbacks.
     *
     * If a signal handler threw during an earlier call, that outcome stays, and the callbacks are
     * run or enqueued now.
     *
     * @internal
     */
    public function settle(mixed $result, ?\Throwable $failure): void
    {
        if (!$this->done) {
            $this->done = true;
            $this->result = $result;
            $this->failure = $failure;
            $this->owner = null;
        }

        if ($this->callbacks !== []) {
            if ($this->call !== null) {
                // Running the callbacks later does not delay other calls that end at the same time.
                $this->multiplexer->callbacks->enqueue($this->callbacks);
            } else {
                foreach ($this->callbacks as $callback) {
                    $callback();
                }
            }
            $this->callbacks = [];
        }
        $this->call = null;
    }

    public function __destruct()
    {
        if ($this->isUnreported && $this->failure !== null) {
            $this->multiplexer->log->callbackThrew($this->id, $this->failure);
        }
    }
}
