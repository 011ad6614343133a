<?php

declare(strict_types=1);

namespace Jackfield\Tests\Unit;

use Jackfield\Exception\ConnectionLostException;
use Jackfield\Exception\RemoteException;
use Jackfield\Exception\TimeoutException;
use Jackfield\Options;
use Jackfield\Testing\FakeHost;
use Jackfield\Tests\Support\MemoryLog;
use PHPUnit\Framework\TestCase;

/**
 * Tests futures, callbacks and the log.
 */
final class FutureTest extends TestCase
{
    private FakeHost $host;
    private MemoryLog $log;

    protected function setUp(): void
    {
        $this->log = new MemoryLog();
        $this->host = (new FakeHost())
            ->on('fails', static fn (): never => throw RemoteException::from(42, 'no', ['why' => 1]))
            ->on('nothing', static fn (): mixed => null)
            ->silent('silent')
            ->hangsUpOn('hangs.up');
    }

    public function testThenReturnsAFutureOfTheCallbackResult(): void
    {
        $client = $this->host->client();
        self::assertSame(6, $client->callAsync('system.echo', 2)->then(fn (int $n): int => $n * 3)->await());
        self::assertSame('caught 42', $client->callAsync('fails')
            ->then(fn (): string => 'not called', fn (\Throwable $t): string => "caught {$t->getCode()}")->await());
        $nested = $client->callAsync('system.echo', 3)
            ->then(fn (int $n): mixed => $client->callAsync('system.echo', $n * 3));
        self::assertSame(9, $nested->await(), 'a returned future is awaited');
        self::assertSame(5, $client->callAsync('system.echo', 5)->then(null, fn (): int => 0)->await());
    }

    public function testAnExceptionOfACallbackFailsOnlyTheFutureOfThen(): void
    {
        $client = $this->host->client(new Options(logger: $this->log));
        $future = $client->callAsync('system.echo', 1);
        $first = $future->then(fn (): never => throw new \DomainException('mine'));
        $second = $future->then(fn (int $n): int => $n + 1);
        self::assertSame(2, $second->await());
        self::assertSame(1, $future->await());
        try {
            $first->await();
            self::fail('nothing was thrown');
        } catch (\DomainException $thrown) {
            self::assertSame('mine', $thrown->getMessage());
        }

        unset($first, $thrown);
        $message = 'the callback of request {async_request_id} threw an exception';
        self::assertSame([], $this->log->with($message), 'await() threw it');

        $future->then(fn (): never => throw new \DomainException('unreported'));
        self::assertCount(1, $this->log->with($message), 'nobody received it');
    }

    public function testThenCallsTheCallbackImmediatelyIfTheOutcomeIsKnown(): void
    {
        $future = $this->host->client()->callAsync('system.echo', 7);
        $future->await();
        $seen = null;
        $future->then(function (int $n) use (&$seen): void {
            $seen = $n;
        });
        self::assertSame(7, $seen);
        self::assertSame(7, $future->await());
        self::assertFalse($future->cancel());
    }

    public function testAwaitThrowsALogicExceptionForAFutureThatAwaitsItself(): void
    {
        $client = $this->host->client();
        $next = null;
        $next = $client->callAsync('system.echo', 1)->then(function () use (&$next): mixed {
            return $next->await();
        });
        $this->expectException(\LogicException::class);
        $next->await();
    }

    public function testReturnsANullResult(): void
    {
        self::assertNull($this->host->client()->call('nothing'));
        self::assertNull($this->host->client()->callAsync('nothing')->await());
    }

    public function testSendAsyncPassesRepliesAndFailuresToTheCallback(): void
    {
        $client = $this->host->client();
        $replies = [];
        foreach (['system.echo', 'fails', 'silent'] as $method) {
            $ids[] = $client->sendAsync(
                ['method' => $method, 'params' => ['x' => 1], 'timestamp' => 1_717_324_800, 'id' => 'mine'],
                function (array $reply) use ($method, &$replies): void {
                    $replies[$method] = $reply;
                },
                timeout: $method === 'silent' ? 0.05 : null
            );
        }

        $client->run();
        self::assertSame(['id' => $ids[0], 'result' => ['x' => 1]], $replies['system.echo']);
        self::assertSame(
            ['id' => $ids[1], 'error' => ['code' => 42, 'message' => 'no', 'data' => ['why' => 1]]],
            $replies['fails']
        );
        self::assertSame(0, $replies['silent']['error']['code']);
        self::assertInstanceOf(TimeoutException::class, $replies['silent']['exception']);
        self::assertCount(3, array_unique($ids));
    }

    public function testLogsCallsWithIdMethodAndDuration(): void
    {
        $client = $this->host->client(new Options(logger: $this->log));
        $good = $client->callAsync('system.echo');
        $good->await();
        $late = $client->callAsync('silent', timeout: 0.05);
        $late->then(null, static fn (): bool => true)->await();
        $client->call('system.ping');

        [$answered] = $this->log->with('{method}: async request answered after {duration_ms} ms');
        self::assertSame('info', $answered['level']);
        self::assertSame($good->id(), $answered['context']['async_request_id']);
        self::assertSame('system.echo', $answered['context']['method']);
        self::assertGreaterThan(0.0, $answered['context']['duration_ms']);

        [$failed] = $this->log->with('{method}: async request failed after {duration_ms} ms');
        self::assertSame('warning', $failed['level']);
        self::assertSame($late->id(), $failed['context']['async_request_id']);
        self::assertGreaterThanOrEqual(50.0, $failed['context']['duration_ms']);
        self::assertInstanceOf(TimeoutException::class, $failed['context']['exception']);

        self::assertCount(2, $this->log->with('{method}: async request sent'));
        [$sync] = $this->log->with('{method}: request answered after {duration_ms} ms');
        self::assertSame('debug', $sync['level']);
    }

    public function testACallSucceedsIfTheLoggerThrows(): void
    {
        $logger = new class () extends \Psr\Log\AbstractLogger {
            /**
             * @param mixed                $level
             * @param string|\Stringable   $message
             * @param array<string, mixed> $context
             */
            public function log($level, $message, array $context = []): void
            {
                throw new \RuntimeException('disk full');
            }
        };
        $before = ini_set('error_log', '/dev/null');
        try {
            $client = $this->host->client(new Options(logger: $logger));
            self::assertSame(1, $client->call('system.echo', 1));
            self::assertSame(2, $client->callAsync('system.echo', 2)->await());
        } finally {
            ini_set('error_log', (string) $before);
        }
    }

    public function testFakeHostAnswersClosesAndRefusesConnections(): void
    {
        $client = $this->host->client();
        self::assertSame('pong', $client->call('system.ping'));
        self::assertLessThan(5.0, $client->ping());
        foreach ([fn () => $client->call('hangs.up'), fn () => $client->callAsync('hangs.up')->await()] as $call) {
            try {
                $call();
                self::fail('nothing was thrown');
            } catch (ConnectionLostException $lost) {
                self::assertFalse($lost->isRetryable());
            }
        }

        $this->host->down();
        $started = hrtime(true);
        try {
            $client->call('system.ping', timeout: 0.05);
            self::fail('nothing was thrown');
        } catch (\Jackfield\Exception\ConnectException) {
            self::assertGreaterThanOrEqual(50e6, hrtime(true) - $started);
        }

        $this->host->down(false);
        self::assertSame([['big' => str_repeat('x', 1 << 20)]], array_values($client->batch(
            [['system.echo', ['big' => str_repeat('x', 1 << 20)]]]
        )));
        self::assertSame('system.ping', $this->host->calls()[0]['method']);
        self::assertNull($this->host->calls()[0]['params']);

        $this->host->on('broken', static fn (): never => throw new \DomainException('thrown by the test'));
        $this->expectException(\DomainException::class);
        $client->call('broken');
    }
}
