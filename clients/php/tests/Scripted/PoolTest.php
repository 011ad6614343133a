<?php

declare(strict_types=1);

namespace Jackfield\Tests\Scripted;

use Jackfield\Client;
use Jackfield\Exception\ConnectionLostException;
use Jackfield\Exception\JackfieldException;
use Jackfield\Exception\PoolFullException;
use Jackfield\Options;
use Jackfield\Testing\FakeHost;
use Jackfield\Tests\Support\Peer;
use Jackfield\Tests\Support\TestCase;
use Jackfield\Tests\Support\Wait;

/**
 * Tests the pool: the limit, the reuse and replacement of sockets, restarts of the host, and forks.
 */
final class PoolTest extends TestCase
{
    public function testAHundredConcurrentCallersShareTwentyConnections(): void
    {
        $server = $this->play([[['serve' => 'lifo']]]);
        $client = $this->client($server, timeout: 30.0, maxConnections: 20, maxInFlightPerConnection: 1, fibers: true);
        $answered = 0;
        $maxConnections = 0;
        for ($i = 0; $i < 100; $i++) {
            (new \Fiber(function () use ($client, $i, &$answered, &$maxConnections): void {
                $answered += (int) ($client->call('system.echo', [$i]) === [$i]);
                $maxConnections = max($maxConnections, array_sum($client->connections()));
            }))->start();
            $maxConnections = max($maxConnections, array_sum($client->connections()));
        }
        $client->run();
        self::assertSame(100, $answered);
        self::assertSame(20, $maxConnections);
        $client->close();
        self::assertCount(20, $server->finish()['connections']);
    }

    public function testReportsAFullPoolAtTheDeadline(): void
    {
        $client = $this->client($this->play([[['silence' => true]]]), maxConnections: 1, maxInFlightPerConnection: 1);
        $first = $client->callAsync('m', timeout: 5.0);
        $second = $client->callAsync('m', timeout: 0.1);
        self::assertTrue(self::thrown(PoolFullException::class, $second->await(...))->isRetryable());
        self::thrown(PoolFullException::class, fn () => $client->ping(0.1));
        self::assertFalse($first->isDone());
    }

    public function testReturnsAnIdleSocketToThePoolImmediately(): void
    {
        $client = $this->client($this->play([[['serve' => 'fifo']]]));
        $client->call('system.echo', [1]);
        self::assertSame(['idle' => 1, 'busy' => 0], $client->connections());
        $future = $client->callAsync('system.echo', [1]);
        self::assertSame(['idle' => 0, 'busy' => 1], $client->connections());
        $future->await();
        self::assertSame(['idle' => 1, 'busy' => 0], $client->connections());
    }

    /** @return iterable<string, array{bool, float}> */
    public static function detections(): iterable
    {
        foreach (['sync' => false, 'async' => true] as $name => $async) {
            yield "$name, detected by a heartbeat" => [$async, 0.0];
            yield "$name, detected by the write" => [$async, 86_400.0];
        }
    }

    /** @dataProvider detections */
    public function testReplacesAnIdleSocketThatTheHostClosed(bool $async, float $healthCheckAfter): void
    {
        $listener = stream_socket_server('unix://' . $this->scratch->path('idle.sock'));
        $client = Client::connect(
            'unix://' . $this->scratch->path('idle.sock'),
            new Options(timeout: 10.0, healthCheckAfter: $healthCheckAfter)
        );
        for ($round = 0; $round < 5; $round++) {
            $future = $client->callAsync('m', [$round]);
            $peer = stream_socket_accept($listener, 5);
            fwrite($peer, self::answer($peer, $round));
            self::assertSame($round, $future->await());
            self::assertSame(1, $client->connections()['idle']);
            // The host closes an idle connection, which the client's end reports immediately.
            fclose($peer);
        }

        $scripted = $this->scratch->path('idle.sock');
        fclose($listener);
        unlink($scripted);
        $server = $this->playFile($this->script([['serve' => 'fifo']]), [], $scripted);
        self::assertSame([1], $async
            ? $client->callAsync('system.echo', [1])->await()
            : $client->call('system.echo', [1]), 'the call succeeds');
        self::assertCount(1, $server->requests(), 'nothing was sent twice');
    }

    public function testReplacesAllClosedIdleSocketsWithoutDelay(): void
    {
        $file = $this->script([['serve' => 'lifo']]);
        $server = $this->playFile($file);
        $client = $this->client($server, timeout: 30.0, maxInFlightPerConnection: 1);
        $client->batch(array_fill(0, 100, ['system.echo', [1]]));
        self::assertSame(20, $client->connections()['idle']);
        $server->kill();
        unlink($server->socket);
        $second = $this->playFile($file, [], $server->socket);
        $took = self::seconds(fn () => self::assertSame([2], $client->call('system.echo', [2])));
        self::assertLessThan(1.0, $took);
        self::assertSame(1, array_sum($client->connections()), 'the unusable sockets are closed');
        self::assertCount(1, $second->requests());
    }

    public function testClosesAnIdleSocketThatDoesNotAnswerAHeartbeat(): void
    {
        $server = $this->play([
            [
                ['expect' => 'sync', 'as' => 'a'], ['reply' => 'a', 'echo' => true],
                ['expect' => 'heartbeat'], ['silence' => true],
            ],
            [['serve' => 'fifo']],
        ]);
        $client = $this->client($server, timeout: 10.0, healthCheckAfter: 0.0);
        self::assertSame([1], $client->call('system.echo', [1]));
        self::assertSame([2], $client->call('system.echo', [2]), 'the silent socket is replaced');
        self::assertSame([3], $client->call('system.echo', [3]));
        $client->close();
        $kinds = array_map(
            static fn (array $connection): array => array_column($connection['frames'], 'kind'),
            $server->finish()['connections']
        );
        self::assertSame([[2, 1, 2], [2, 1, 2, 1]], $kinds, 'the first heartbeat of a connection is the hello');
    }

    public function testWaitsForAHostThatStartsLate(): void
    {
        $path = $this->scratch->path('late.sock');
        $client = Client::connect("unix://$path", new Options(timeout: 20.0, connectTimeout: 20.0));
        $future = $client->callAsync('system.echo', ['early']);
        $client->tick(0.05);
        self::assertFalse($future->isDone());
        $this->playFile($this->script([['serve' => 'fifo']]), [], $path);
        self::assertSame(['early'], $future->await());
    }

    public function testRetriesOnlyIdempotentCallsIfTheHostIsKilledUnderLoad(): void
    {
        $file = $this->script([['serve' => 'shuffled']]);
        $server = $this->playFile($file);
        $client = $this->client($server, timeout: 30.0, maxInFlightPerConnection: 50);
        $idempotent = [];
        $others = [];
        for ($i = 0; $i < 400; $i++) {
            $idempotent[$i] = $client->callAsync('system.echo', ['idempotent' => $i], idempotent: true);
            $others[$i] = $client->callAsync('system.echo', ['other' => $i]);
        }

        Wait::until(function () use ($client): bool {
            $client->tick(0.001);

            return $client->pending() < 700;
        }, 'some calls are answered');
        $server->kill();
        unlink($server->socket);
        $second = $this->playFile($file, [], $server->socket);

        $lost = 0;
        $answered = 0;
        foreach ($idempotent as $i => $future) {
            self::assertSame(['idempotent' => $i], $future->await());
        }

        foreach ($others as $i => $future) {
            try {
                self::assertSame(['other' => $i], $future->await());
                $answered++;
            } catch (JackfieldException $failure) {
                self::assertInstanceOf(ConnectionLostException::class, $failure);
                self::assertFalse($failure->isRetryable());
                $lost++;
                $ids[$future->id()] = true;
            }
        }

        self::assertSame(400, $lost + $answered);
        foreach ($second->requests() as $request) {
            self::assertArrayNotHasKey($request['body']['id'], $ids ?? [], 'a call that failed was sent again');
        }
    }

    public function testAChildProcessUsesItsOwnConnections(): void
    {
        $server = $this->play([[['serve' => 'fifo']]]);
        $client = $this->client($server, timeout: 30.0);
        $client->call('system.echo', ['before']);
        $pending = $client->callAsync('system.echo', ['pending']);

        $children = [];
        for ($child = 0; $child < 3; $child++) {
            $pid = pcntl_fork();
            if ($pid === 0) {
                $right = 0;
                for ($i = 0; $i < 200; $i++) {
                    $right += (int) ($client->call('system.echo', [$child, $i]) === [$child, $i]);
                }
                $isCancelled = $pending->isDone();
                // Kill the child: PHP's shutdown would destroy objects that belong to the parent.
                file_put_contents($this->scratch->path("child$child"), "$right " . (int) $isCancelled);
                posix_kill(getmypid(), SIGKILL);
            }
            $children[] = $pid;
        }

        for ($i = 0; $i < 200; $i++) {
            self::assertSame(['parent', $i], $client->call('system.echo', ['parent', $i]));
        }

        self::assertSame(['pending'], $pending->await());

        foreach ($children as $child => $pid) {
            pcntl_waitpid($pid, $status);
            self::assertSame('200 1', file_get_contents($this->scratch->path("child$child")));
        }

        $client->close();
        $ids = array_column(array_column($server->requests(), 'body'), 'id');
        self::assertCount(802, array_unique($ids), 'no two processes generated the same ids');
    }

    /** @return iterable<string, array{callable(\Jackfield\Client): mixed}> */
    public static function firstCallsOfAChild(): iterable
    {
        yield 'call' => [static fn ($client) => $client->call('system.echo', ['child'])];
        yield 'callAsync' => [static fn ($client) => $client->callAsync('system.echo', ['child'])->await()];
        yield 'batch' => [static fn ($client) => $client->batch([['system.echo', ['child']]])[0]];
        yield 'ping' => [static fn ($client) => $client->ping() > 0.0 ? $client->call('system.echo', ['child']) : null];
    }

    /** @dataProvider firstCallsOfAChild */
    public function testAChildProcessDoesNotSendThePendingCallsOfItsParent(callable $call): void
    {
        $host = (new FakeHost())->down();
        $client = $host->client();
        $pending = $client->callAsync('system.echo', ['pending']);
        $host->down(false);
        usleep(5_000);
        $pid = pcntl_fork();
        if ($pid === 0) {
            $result = $call($client);
            $client->run();
            file_put_contents(
                $this->scratch->path('child'),
                json_encode([$result, array_column($host->calls(), 'params'), $pending->isDone()])
            );
            posix_kill(getmypid(), SIGKILL);
        }

        pcntl_waitpid($pid, $status);
        self::assertSame('[["child"],[["child"]],true]', file_get_contents($this->scratch->path('child')));
        self::assertSame(['pending'], $pending->await());
    }

    /** @param list<array<string, mixed>> $steps */
    private function script(array $steps): string
    {
        $file = $this->scratch->path('script-' . bin2hex(random_bytes(3)) . '.json');
        file_put_contents($file, json_encode(['server' => ['connections' => [$steps]]]));

        return $file;
    }

    /**
     * Reads one async request and returns the frame of its reply.
     *
     * @param resource $peer
     */
    private static function answer($peer, mixed $result): string
    {
        $request = Peer::receive($peer)['body'];
        $payload = json_encode(['id' => $request['id'], 'result' => $result]);

        return pack('nCN', 0x0101, 5, strlen($payload)) . $payload;
    }
}
