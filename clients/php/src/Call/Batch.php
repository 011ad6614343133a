<?php

declare(strict_types=1);

namespace Jackfield\Call;

use Jackfield\Exception\InvalidRequestException;
use Jackfield\Exception\JackfieldException;
use Jackfield\Future;

use function array_fill_keys, array_keys, is_array, is_string;

/**
 * Many calls that are made at the same time and awaited together.
 *
 * @internal
 */
final class Batch
{
    /** @var array<array-key, Future> */
    private array $futures = [];

    /** @var array<array-key, mixed> */
    private array $outcomes;

    /**
     * @param array<array-key, array{0: string, 1?: mixed}> $calls method and params of each call
     * @param string $members further members of each envelope, from RequestMembers
     *
     * @throws InvalidRequestException if a call is something else
     */
    public function __construct(
        private readonly Multiplexer $multiplexer,
        private readonly array $calls,
        private readonly string $members,
    ) {
        foreach ($calls as $key => $call) {
            if (!is_array($call) || !is_string($call[0] ?? null)) {
                throw new InvalidRequestException("batch(): the call with the key \"$key\" is not [method, params]");
            }
        }

        $keys = array_keys($calls);
        $this->outcomes = array_fill_keys($keys, null);
    }

    /**
     * Makes the calls and returns their outcomes.
     *
     * @param int $started  when the batch began, as hrtime(true)
     * @param int $deadline an instant of hrtime(true), in nanoseconds
     *
     * @return array<array-key, mixed> results and exceptions, with the keys and order of the calls
     */
    public function run(int $started, int $deadline, bool $idempotent): array
    {
        try {
            $this->submit($started, $deadline, $idempotent);
            foreach ($this->futures as $key => $future) {
                try {
                    $this->outcomes[$key] = $future->await();
                } catch (JackfieldException $failure) {
                    $this->outcomes[$key] = $failure;
                }
            }
        } catch (\Throwable $thrown) {
            // A signal handler of the program has thrown. Nobody waits for the results.
            foreach ($this->futures as $future) {
                $future->cancel();
            }
            throw $thrown;
        }

        return $this->outcomes;
    }

    private function submit(int $started, int $deadline, bool $idempotent): void
    {
        foreach ($this->calls as $key => $call) {
            try {
                $this->multiplexer->awaitQueueSpace($deadline);
                $params = $call[1] ?? null;
                $this->futures[$key] = $this->multiplexer->submit(
                    $call[0],
                    $params,
                    $started,
                    $deadline,
                    $idempotent,
                    isCorked: true,
                    members: $this->members
                );
            } catch (JackfieldException $failure) {
                $this->outcomes[$key] = $failure;
            }
        }
        $this->multiplexer->flush();
    }
}
