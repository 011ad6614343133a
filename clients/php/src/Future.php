<?php

/**
 * The outcome of an async call, now or later.
 */

declare(strict_types=1);

namespace Jackfield;

use Jackfield\Call\Call;
use Jackfield\Call\Multiplexer;

final class Future
{
    private bool $done = false;
    private mixed $result = null;
    private ?\Throwable $failure = null;
    /** @var list<\Closure(): void> */
    private array $callbacks = [];
    /** The client, kept until the outcome is known, so that a program may let go of it before. */
    private ?object $owner = null;
    /** Whether a failure that came out of a callback still has to be shown to somebody. */
    private bool $unseen = false;

    /**
     * @internal futures come from Client::callAsync()
     * @param Call|null $call the call behind it, until it has ended; null for what then() returns
     * @param string    $id   the request's id
     */
    public function __construct(
        private readonly Multiplexer $multiplexer,
        private ?Call $call,
        private readonly string $id,
    ) {
    }

    /** The request's id. */
    public function id(): string
    {
        return $this->id;
    }

    public function isDone(): bool
    {
        return $this->done;
    }

    /**
     * Waits for the outcome: the result, or the exception is thrown. Meanwhile all other async calls of the client
     * go on. There is no time-out here: the call's own deadline ends it.
     *
     * @throws Exception\JackfieldException
     */
    public function await(): mixed
    {
        if (!$this->done) {
            $this->multiplexer->drive($this);
        }
        $this->unseen = false;
        if ($this->failure !== null) {
            throw $this->failure;
        }

        return $this->result;
    }

    /**
     * Calls back once with the result, or with the exception. At once if the outcome is known, else from within
     * tick(), run() or any await().
     *
     * @param (callable(mixed): mixed)|null      $onResult
     * @param (callable(\Throwable): mixed)|null $onFailure
     * @return self the outcome of the callback: what it returns (a future is waited for), or throws. Where the
     *              callback for the outcome is missing, the outcome itself
     */
    public function then(?callable $onResult, ?callable $onFailure = null): self
    {
        $next = new self($this->multiplexer, null, $this->id);
        $this->whenDone(function () use ($next, $onResult, $onFailure): void {
            $callback = $this->failure === null ? $onResult : $onFailure;
            $this->unseen = false;
            if ($callback === null) {
                $next->settle($this->result, $this->failure);

                return;
            }
            try {
                $outcome = $callback($this->failure ?? $this->result);
            } catch (\Throwable $thrown) {
                $next->unseen = true;
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
     * Gives the call up. A request not yet sent is never sent; the reply to one that was is ignored when it comes.
     *
     * @return bool false when the outcome was known already
     */
    public function cancel(): bool
    {
        return $this->call !== null && $this->multiplexer->cancel($this->call);
    }

    /**
     * Runs `$callback` when the outcome is known.
     *
     * @internal
     * @param \Closure(): void $callback
     */
    public function whenDone(\Closure $callback): void
    {
        if ($this->done) {
            $callback();
        } else {
            $this->callbacks[] = $callback;
        }
    }

    /** @internal */
    public function ownedBy(object $owner): self
    {
        $this->owner = $this->done ? null : $owner;

        return $this;
    }

    /** @internal */
    public function settle(mixed $result, ?\Throwable $failure): void
    {
        $this->done = true;
        $this->result = $result;
        $this->failure = $failure;
        $this->owner = null;
        $wasCall = $this->call !== null;
        $this->call = null;
        if ($this->callbacks === []) {
            return;
        }
        $callbacks = $this->callbacks;
        $this->callbacks = [];
        if ($wasCall) {
            // A call that ends among others does not keep them waiting for its callbacks.
            $this->multiplexer->later($this->id, $callbacks);
        } else {
            foreach ($callbacks as $callback) {
                $callback();
            }
        }
    }

    public function __destruct()
    {
        if ($this->unseen && $this->failure !== null) {
            $this->multiplexer->log->callbackThrew($this->id, $this->failure);
        }
    }
}
