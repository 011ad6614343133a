<?php

declare(strict_types=1);

namespace Jackfield\Tests\Scripted;

use Jackfield\Client;
use Jackfield\Exception\ConnectException;
use Jackfield\Options;
use Jackfield\Tests\Support\MemoryLog;
use Jackfield\Tests\Support\TestCase;

/**
 * Tests calls to a host that is down: how long they wait, what they report, and what they log.
 */
final class HostDownTest extends TestCase
{
    /** @return iterable<string, array{\Closure(Client): mixed}> */
    public static function calls(): iterable
    {
        yield 'call' => [static fn (Client $client): mixed => $client->call('m')];
        yield 'callAsync' => [static fn (Client $client): mixed => $client->callAsync('m')->await()];
        yield 'batch' => [static function (Client $client): void {
            $failures = $client->batch(array_fill(0, 300, ['m']));
            self::assertContainsOnlyInstancesOf(ConnectException::class, $failures);
            throw $failures[299];
        }];
    }

    /**
     * @dataProvider calls
     *
     * @param \Closure(Client): mixed $call
     */
    public function testWaitsForTheConnectTimeoutAndNotForTheTimeout(\Closure $call): void
    {
        $client = $this->connect(timeout: 60.0, connectTimeout: 0.2);
        $took = self::seconds(function () use ($call, $client): void {
            $failure = self::thrown(ConnectException::class, static fn (): mixed => $call($client));
            self::assertMatchesRegularExpression(
                '/^m: cannot connect to .*No such file.* \(after 0\.\d+ s, time-out 60 s, connectTimeout 0\.2 s\)$/',
                preg_replace('/after \d+\.?\d* s/', 'after 0.2 s', $failure->getMessage())
            );
            self::assertTrue($failure->isRetryable());
            self::assertSame(2, $failure->getCode());
        });
        self::assertGreaterThanOrEqual(0.199, $took);
        self::assertLessThan(30.0, $took);
        self::assertSame(0, $client->pending());
    }

    /**
     * @dataProvider calls
     *
     * @param \Closure(Client): mixed $call
     */
    public function testFailsAtOnceAfterTwoCallsHaveWaitedInVain(\Closure $call): void
    {
        $durations = [];
        for ($i = 0; $i < 3; $i++) {
            // A new client for each call, as in a web request.
            $client = $this->connect(timeout: 60.0, connectTimeout: 0.5);
            $durations[] = self::seconds(
                fn () => self::thrown(ConnectException::class, static fn (): mixed => $call($client))
            );
        }

        self::assertGreaterThanOrEqual(0.499, min($durations[0], $durations[1]));
        self::assertLessThan($durations[0] / 2, $durations[2]);
    }

    /**
     * @dataProvider calls
     *
     * @param \Closure(Client): mixed $call
     */
    public function testReachesAHostThatIsBackAtOnce(\Closure $call): void
    {
        for ($i = 0; $i < 3; $i++) {
            $client = $this->connect(timeout: 60.0, connectTimeout: 0.05);
            self::thrown(ConnectException::class, static fn (): mixed => $call($client));
        }

        $this->playFile($this->script(), [], $this->scratch->path('host.sock'));
        self::assertSame([1], $this->connect(timeout: 20.0)->call('system.echo', [1]));
        self::assertSame([1], $this->connect(timeout: 20.0)->callAsync('system.echo', [1])->await());
    }

    public function testACallWaitsForARestart(): void
    {
        $server = $this->playFile($this->script(), [], $this->scratch->path('host.sock'));
        $client = $this->connect(timeout: 60.0, connectTimeout: 60.0);
        self::assertSame([1], $client->call('system.echo', [1]));
        $server->kill();
        unlink($server->socket);

        $future = $client->callAsync('system.echo', [2]);
        $client->tick(0.2);
        self::assertFalse($future->isDone());
        $this->playFile($this->script(), [], $server->socket);
        self::assertSame([2], $future->await());
        self::assertSame([3], $client->call('system.echo', [3]));
    }

    public function testAShortTimeoutEndsTheWait(): void
    {
        $client = $this->connect(timeout: 0.05, connectTimeout: 60.0);
        $took = self::seconds(fn () => self::thrown(ConnectException::class, static fn () => $client->call('m')));
        self::assertLessThan(30.0, $took);
    }

    public function testWithoutAConnectTimeoutOneAttemptIsMade(): void
    {
        $client = $this->connect(timeout: 60.0, connectTimeout: 0.0);
        self::thrown(ConnectException::class, static fn (): mixed => $client->call('m'));
        self::thrown(ConnectException::class, static fn (): mixed => $client->callAsync('m')->await());
    }

    public function testLogsNeitherEachAttemptNorEachCallOfABatch(): void
    {
        $log = new MemoryLog();
        $client = $this->connect(timeout: 60.0, connectTimeout: 0.3, logger: $log);
        $client->batch(array_fill(0, 100, ['m']));
        for ($i = 0; $i < 20; $i++) {
            self::thrown(ConnectException::class, static fn (): mixed => $client->call('m', timeout: 0.01));
        }

        $attempts = $log->with('cannot connect to {address}: calls try again for {connect_timeout_ms} ms');
        $failures = [
            ...$log->with('{method}: async request failed after {duration_ms} ms'),
            ...$log->with('{method}: request failed after {duration_ms} ms'),
        ];
        self::assertCount(1, $attempts);
        self::assertLessThan(20, count($failures));
        self::assertInstanceOf(ConnectException::class, $failures[0]['context']['exception']);
    }

    private function connect(mixed ...$options): Client
    {
        return Client::connect('unix://' . $this->scratch->path('host.sock'), new Options(...$options));
    }

    private function script(): string
    {
        $file = $this->scratch->path('fifo.json');
        file_put_contents($file, json_encode(['server' => ['connections' => [[['serve' => 'fifo']]]]]));

        return $file;
    }
}
