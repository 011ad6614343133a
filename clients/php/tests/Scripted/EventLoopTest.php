<?php

declare(strict_types=1);

namespace Jackfield\Tests\Scripted;

use Jackfield\Exception\TimeoutException;
use Jackfield\Tests\Support\MemoryLog;
use Jackfield\Tests\Support\TestCase;

/**
 * Tests the client in an event loop of the program: stream_select() and fibers.
 */
final class EventLoopTest extends TestCase
{
    public function testRunsInAStreamSelectLoopWithOtherStreams(): void
    {
        $client = $this->client($this->play([[['serve' => 'shuffled']]]), timeout: 30.0);
        [$mine, $other] = stream_socket_pair(STREAM_PF_UNIX, STREAM_SOCK_STREAM, 0);
        $large = str_repeat('x', 20_000);
        $done = 0;
        for ($i = 0; $i < 200; $i++) {
            $client->callAsync('system.echo', [$i, $large])->then(
                function (array $result) use ($i, $other, &$done): void {
                    self::assertSame($i, $result[0]);
                    fwrite($other, '.');
                    $done++;
                }
            );
        }

        $notified = 0;
        $blockedSeconds = 0.0;
        while ($notified < 200) {
            ['read' => $read, 'write' => $write] = $client->streams();
            $read[] = $mine;
            $except = null;
            $due = $client->secondsUntilDue();
            self::assertTrue($client->pending() === 0 || $due !== null, 'pending calls have a deadline');
            $seconds = min($due ?? 1.0, 30.0);
            stream_select($read, $write, $except, (int) $seconds, (int) (fmod($seconds, 1) * 1e6));
            if (in_array($mine, $read, true)) {
                $notified += strlen((string) fread($mine, 8_192));
            }
            $blockedSeconds = max($blockedSeconds, self::seconds(fn () => $client->tick()));
        }

        self::assertSame(200, $done);
        self::assertLessThan(1.0, $blockedSeconds, 'tick() without a time-out does not wait');
    }

    public function testReportsDeadlinesToTheLoop(): void
    {
        $client = $this->client($this->play([[['silence' => true]]]));
        $future = $client->callAsync('m', timeout: 0.1);
        self::assertNull($this->client($this->play([[['silence' => true]]]))->secondsUntilDue());
        while (($due = $client->secondsUntilDue()) !== null) {
            self::assertLessThanOrEqual(0.1, $due);
            usleep((int) ($due * 1e6));
            $client->tick();
        }
        self::thrown(TimeoutException::class, $future->await(...));
    }

    /**
     * A heartbeat detects a host that does not respond, while the loop continues.
     */
    public function testAHeartbeatDoesNotBlockTheLoop(): void
    {
        $server = $this->play([
            [
                ['expect' => 'async', 'as' => 'a'], ['reply' => 'a', 'echo' => true],
                ['expect' => 'heartbeat'], ['silence' => true],
            ],
            [['serve' => 'fifo']],
        ]);
        $client = $this->client($server, timeout: 20.0, healthCheckAfter: 0.0);
        self::assertSame([1], $client->callAsync('system.echo', [1])->await());

        $longest = self::seconds(function () use ($client, &$future): void {
            $future = $client->callAsync('system.echo', [2]);
        });
        $ticks = 0;
        while (!$future->isDone()) {
            $longest = max($longest, self::seconds(fn () => $client->tick()));
            usleep(1_000);
            $ticks++;
        }

        self::assertSame([2], $future->await(), 'on a connection whose host answers');
        self::assertLessThan(0.8, $longest, 'nothing waited for the heartbeat time-out of one second');
        self::assertGreaterThan(10, $ticks);

        self::assertSame([3], $client->callAsync('system.echo', [3])->await());
        self::assertSame(['idle' => 1, 'busy' => 0], $client->connections());

        $client->close();
        $kinds = array_map(
            static fn (array $connection): array => array_column($connection['frames'], 'kind'),
            $server->finish()['connections']
        );
        self::assertSame([[2, 4, 2], [2, 4, 2, 4]], $kinds);
    }

    public function testFibersAwaitTheirCallsConcurrently(): void
    {
        $server = $this->play([[
            ['expect' => 'async', 'as' => '0'], ['expect' => 'async', 'as' => '1'], ['expect' => 'async', 'as' => '2'],
            ['reply' => '2', 'echo' => true], ['reply' => '0', 'echo' => true], ['reply' => '1', 'echo' => true],
            ['silence' => true],
        ]]);
        $client = $this->client($server, fibers: true, timeout: 20.0);
        $order = [];
        foreach ([0, 1, 2] as $i) {
            (new \Fiber(function () use ($client, $i, &$order): void {
                $result = $i === 1
                    ? $client->callAsync('system.echo', [$i])->await()
                    : $client->call('system.echo', [$i]);
                self::assertSame([$i], $result);
                $order[] = $i;
            }))->start();
        }

        self::assertSame([], $order);
        $client->run();
        self::assertSame([2, 0, 1], $order);
    }

    public function testACallInAFiberBlocksWithoutTheOption(): void
    {
        $client = $this->client($this->play([[['serve' => 'fifo']]]), timeout: 20.0);
        $fiber = new \Fiber(fn (): array => [
            $client->call('system.echo', [1]),
            $client->callAsync('system.echo', [2])->await(),
        ]);
        $fiber->start();
        self::assertTrue($fiber->isTerminated());
        self::assertSame([[1], [2]], $fiber->getReturn());
    }

    public function testThrowsAFailureInTheFiber(): void
    {
        $client = $this->client($this->play([[['silence' => true]]]), fibers: true);
        $fiber = new \Fiber(function () use ($client): string {
            try {
                $client->call('m', timeout: 0.05);
            } catch (TimeoutException $late) {
                return $late->phase;
            }

            return 'nothing';
        });
        $fiber->start();
        $client->run();
        self::assertSame('wait', $fiber->getReturn());
    }

    public function testNoFiberIsResumedFromADestructor(): void
    {
        $log = new MemoryLog();
        $client = $this->client($this->play([[['silence' => true]]]), fibers: true, logger: $log);
        $resumed = 0;
        $run = static function () use ($client, &$resumed): void {
            try {
                $client->call('m', timeout: 20.0);
            } catch (\Throwable) {
                $resumed++;
            }
        };
        (new \Fiber($run))->start();
        (new \Fiber($run))->start();
        unset($client, $run);
        gc_collect_cycles();

        self::assertSame(0, $resumed);
        self::assertSame([], $log->with('the callback of request {async_request_id} threw an exception'));
        self::assertCount(2, $log->with('{method}: async request failed after {duration_ms} ms'), 'they were cancelled');
    }

    public function testWorksWithMoreThan1024OpenFiles(): void
    {
        $files = [];
        while (count($files) < 1_100) {
            $file = @fopen('/dev/null', 'r');
            self::assertNotFalse($file, 'this process may not open 1,100 files: raise ulimit -n');
            $files[] = $file;
        }
        $client = $this->client($this->play([[['serve' => 'fifo']]]), timeout: 20.0);
        self::assertSame([1], $client->call('system.echo', [1]));
        self::assertSame([2], $client->callAsync('system.echo', [2])->await());
        $took = self::seconds(fn () => self::thrown(
            TimeoutException::class,
            fn () => $this->client($this->play([[['silence' => true]]]))->call('m', timeout: 0.2)
        ));
        self::assertGreaterThanOrEqual(0.2, $took);
    }
}
