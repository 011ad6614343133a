<?php

declare(strict_types=1);

namespace Jackfield\Tests\Scripted;

use Jackfield\Exception\CancelledException;
use Jackfield\Exception\JackfieldException;
use Jackfield\Exception\PoolFullException;
use Jackfield\Exception\RemoteException;
use Jackfield\Exception\TimeoutException;
use Jackfield\Future;
use Jackfield\Tests\Support\MemoryLog;
use Jackfield\Tests\Support\TestCase;

/**
 * Tests async calls: many at the same time, replies in any order, large ones, callbacks that throw.
 */
final class AsyncTest extends TestCase
{
    public function testMatchesAThousandRepliesInAnyOrderWhileCallbacksThrow(): void
    {
        $server = $this->play([[['serve' => 'shuffled']]]);
        $log = new MemoryLog();
        $client = $this->client($server, timeout: 60.0, logger: $log);
        $called = [];
        $order = [];
        for ($i = 0; $i < 1_000; $i++) {
            $id = $client->sendAsync(
                ['method' => 'system.echo', 'params' => ['i' => $i]],
                function (array $reply) use ($i, &$called, &$order): void {
                    $called[$i][] = [$reply['id'], $reply['result']['i'] ?? null];
                    $order[] = $i;
                    if ($i % 10 === 0) {
                        throw new \DomainException("callback $i");
                    }
                }
            );
            $ids[$i] = $id;
        }

        $client->run();

        self::assertCount(1_000, $called);
        foreach ($called as $i => $calls) {
            self::assertSame([[$ids[$i], $i]], $calls, 'the callback was called once, with its own reply');
        }

        self::assertNotSame(range(0, 999), $order, 'the server changed the order');
        self::assertSame(0, $client->pending());
        self::assertCount(100, $log->with('the callback of request {async_request_id} threw an exception'));
        self::assertSame(['idle' => $client->connections()['idle'], 'busy' => 0], $client->connections());
        self::assertSame(1, $client->call('system.echo', ['x' => 1])['x'], 'the client still works');
    }

    public function testAThousandLargeCallsOnOneSocketDoNotDeadlock(): void
    {
        $server = $this->play([[['serve' => 'fifo']]]);
        $client = $this->client($server, timeout: 120.0, maxConnections: 1);
        $large = str_repeat('0123456789abcdef', 8_192);
        $right = 0;
        $maxMemory = 0;
        $before = memory_get_usage();
        for ($i = 0; $i < 1_000; $i++) {
            $client->callAsync('system.echo', [$i, $large])->then(
                static function (array $result) use ($i, $large, $before, &$right, &$maxMemory): void {
                    $right += (int) ($result === [$i, $large]);
                    $maxMemory = max($maxMemory, memory_get_usage() - $before);
                }
            );
        }

        $client->run();

        self::assertSame(1_000, $right);
        self::assertLessThan(48 << 20, $maxMemory, 'neither requests nor results accumulate');
        $client->close();
        self::assertCount(1, $server->finish()['connections']);
    }

    /**
     * Shows that the test above can fail: a client that writes everything before it reads stops.
     */
    public function testTheServerDeadlocksAClientThatDoesNotReadWhileItWrites(): void
    {
        $server = $this->play([[['serve' => 'fifo']]]);
        $stream = stream_socket_client($server->address);
        stream_set_blocking($stream, false);
        $payload = json_encode(['id' => 'x', 'method' => 'system.echo', 'params' => str_repeat('x', 131_072)]);
        $frame = pack('nCN', 0x0101, 4, strlen($payload)) . $payload;
        $sent = 0;
        $idle = 0;
        while ($sent < 1_000 * strlen($frame) && $idle < 20) {
            $written = fwrite($stream, substr($frame, $sent % strlen($frame)));
            $sent += $written;
            $idle = $written > 0 ? 0 : $idle + 1;
            if ($written === 0) {
                usleep(20_000);
            }
        }
        fclose($stream);
        self::assertSame(20, $idle, 'the server read everything, although the client read nothing');
    }

    public function testQueuesCallsBeyondTheCapacityOfTheSockets(): void
    {
        $server = $this->play([[['serve' => 'lifo']]]);
        $client = $this->client($server, timeout: 60.0, maxConnections: 2, maxInFlightPerConnection: 3);
        $futures = [];
        for ($i = 0; $i < 100; $i++) {
            $futures[] = $client->callAsync('system.echo', [$i]);
            self::assertLessThanOrEqual(2, array_sum($client->connections()));
        }
        foreach ($futures as $i => $future) {
            self::assertSame([$i], $future->await());
        }
        $client->close();
        self::assertCount(2, $server->finish()['connections']);
    }

    public function testRejectsACallIfTheQueueIsFull(): void
    {
        $server = $this->play([[['silence' => true]]]);
        $client = $this->client($server, timeout: 0.3, maxConnections: 1, maxInFlightPerConnection: 1, maxQueued: 5);
        $futures = [];
        $rejected = self::thrown(PoolFullException::class, function () use ($client, &$futures): void {
            for ($i = 0; $i < 10; $i++) {
                $futures[] = $client->callAsync('system.echo');
            }
        });
        self::assertTrue($rejected->isRetryable());
        self::assertStringStartsWith('system.echo: 5 calls already wait', $rejected->getMessage());
        self::assertStringContainsString('raise the option maxQueued', $rejected->getMessage());

        $failures = array_map(
            fn (Future $future): \Throwable => self::thrown(JackfieldException::class, $future->await(...)),
            $futures
        );
        self::assertInstanceOf(TimeoutException::class, $failures[0]);
        self::assertFalse($failures[0]->isRetryable(), 'the first call was sent');
        foreach (array_slice($failures, 1) as $failure) {
            self::assertTrue($failure->isRetryable(), 'the others were never sent: ' . $failure);
        }

        self::assertCount(6, $futures, 'one on the socket, five in the queue');
        $client->close();
        self::assertCount(1, $server->requests());
    }

    public function testABatchMayExceedTheQueueLimit(): void
    {
        $server = $this->play([[['serve' => 'lifo']]]);
        $client = $this->client($server, timeout: 60.0, maxConnections: 2, maxInFlightPerConnection: 8, maxQueued: 3);
        $outcomes = $client->batch(array_map(static fn (int $i): array => ['system.echo', [$i]], range(0, 499)));
        self::assertSame(array_map(static fn (int $i): array => [$i], range(0, 499)), $outcomes);
    }

    public function testCancelWithdrawsAQueuedCallAndIgnoresTheReplyToASentOne(): void
    {
        $server = $this->play([[
            ['expect' => 'async', 'as' => 'a'], ['pause_ms' => 50], ['reply' => 'a', 'echo' => true],
            ['serve' => 'fifo'],
        ]]);
        $client = $this->client($server, maxConnections: 1, maxInFlightPerConnection: 1);
        $sent = $client->callAsync('system.echo', ['sent']);
        $waiting = $client->callAsync('system.echo', ['waiting']);
        $client->tick(5.0);
        $seen = [];
        $waiting->then(null, function (\Throwable $failure) use (&$seen): void {
            $seen[] = $failure;
        });
        self::assertTrue($waiting->cancel());
        self::assertTrue($sent->cancel());
        self::assertFalse($sent->cancel());
        self::assertCount(1, $seen);
        self::assertTrue(self::thrown(CancelledException::class, $waiting->await(...))->isRetryable());
        self::assertFalse(self::thrown(CancelledException::class, $sent->await(...))->isRetryable());
        self::assertSame(['next'], $client->call('system.echo', ['next']), 'the late reply is ignored');
        $client->close();
        $methods = array_column(array_column($server->requests(), 'body'), 'params');
        self::assertSame([['sent'], ['next']], $methods, 'the queued call was never sent');
    }

    public function testCloseCancelsPendingCalls(): void
    {
        $server = $this->play([[['silence' => true]]]);
        $client = $this->client($server);
        $outcomes = [];
        $client->sendAsync(['method' => 'm'], function (array $reply) use (&$outcomes): void {
            $outcomes[] = $reply;
        });
        $client->close();
        self::assertCount(1, $outcomes);
        self::assertSame(0, $outcomes[0]['error']['code']);
        self::assertInstanceOf(CancelledException::class, $outcomes[0]['exception']);
        self::thrown(CancelledException::class, static fn (): mixed => $client->call('m'));
    }

    public function testAFutureKeepsItsClientAlive(): void
    {
        $server = $this->play([[['serve' => 'fifo']]]);
        $future = $this->client($server)->callAsync('system.echo', ['kept']);
        gc_collect_cycles();
        self::assertSame(['kept'], $future->await());
    }

    public function testBatchReturnsResultsAndFailuresUnderTheirKeys(): void
    {
        $server = $this->play([[['serve' => 'shuffled']]]);
        $client = $this->client($server, timeout: 30.0);
        $calls = [];
        for ($i = 0; $i < 300; $i++) {
            $calls["k$i"] = $i % 7 === 0 ? ['no.such'] : ['system.echo', [$i]];
        }
        $calls['bad'] = ['system.echo', NAN];
        $outcomes = $client->batch($calls);
        self::assertSame(array_keys($calls), array_keys($outcomes));
        self::assertInstanceOf(\InvalidArgumentException::class, array_pop($outcomes));
        foreach (array_values($outcomes) as $i => $outcome) {
            $i % 7 === 0
                ? self::assertInstanceOf(RemoteException::class, $outcome)
                : self::assertSame([$i], $outcome);
        }
    }

    public function testCallbacksMayMakeCalls(): void
    {
        $server = $this->play([[['serve' => 'fifo']]]);
        $client = $this->client($server, timeout: 30.0);
        $steps = [];
        $client->callAsync('system.echo', 1)->then(function (int $n) use ($client, &$steps): void {
            $steps[] = $n;
            $steps[] = $client->call('system.echo', 2);
            $steps[] = $client->callAsync('system.echo', 3)->await();
            $client->callAsync('system.echo', 4)->then(function (int $n) use (&$steps): void {
                $steps[] = $n;
            });
        });
        $client->run();
        self::assertSame([1, 2, 3, 4], $steps);
    }
}
