<?php

declare(strict_types=1);

namespace Jackfield\Call;

use Jackfield\Future;
use Jackfield\Log;

/**
 * The callbacks of calls that have ended, and the fibers that wait for calls.
 *
 * @internal
 */
final class Callbacks
{
    /**
     * Whether the client is being destroyed.
     *
     * No fiber is resumed then: PHP may not switch fibers in a destructor, and fibers that still
     * wait are being destroyed, too.
     */
    public bool $isDestroyed = false;

    /** @var \SplQueue<\Closure(): void> */
    private \SplQueue $due;

    public function __construct(private readonly Log $log)
    {
        $this->due = new \SplQueue();
    }

    /**
     * Enqueues callbacks.
     *
     * @param list<\Closure(): void> $callbacks callbacks for which a second run is harmless
     */
    public function enqueue(array $callbacks): void
    {
        foreach ($callbacks as $callback) {
            $this->due->enqueue($callback);
        }
    }

    public function isEmpty(): bool
    {
        return $this->due->isEmpty();
    }

    /**
     * Runs the callbacks that are due.
     */
    public function run(): void
    {
        while (!$this->due->isEmpty()) {
            // It stays in the queue while it runs, because a signal handler may throw before it
            // begins. A callback may run callbacks, too.
            $callback = $this->due->bottom();
            $callback();
            if (!$this->due->isEmpty() && $this->due->bottom() === $callback) {
                $this->due->dequeue();
            }
        }
    }

    /**
     * Suspends a fiber until a future is done.
     */
    public function suspend(\Fiber $fiber, Future $future): void
    {
        $isResumed = false;
        $future->whenDone(function () use ($fiber, $future, &$isResumed): void {
            if ($isResumed || $this->isDestroyed) {
                return;
            }

            $isResumed = true;
            try {
                $fiber->resume();
            } catch (\Throwable $thrown) {
                if (!self::hasThrown($fiber)) {
                    // A signal handler of the program has thrown outside of the fiber.
                    throw $thrown;
                }
                $this->log->callbackThrew($future->id(), $thrown);
            }
        });
        \Fiber::suspend();
    }

    private static function hasThrown(\Fiber $fiber): bool
    {
        if (!$fiber->isTerminated()) {
            return false;
        }

        try {
            $fiber->getReturn();
        } catch (\FiberError) {
            return true;
        }

        return false;
    }
}
