<?php

/**
 * The pool: how many sockets, which one is used, which one never again, and what a restarted host costs.
 */

declare(strict_types=1);

namespace Jackfield\Tests\Scripted;

use Jackfield\Client;
use Jackfield\Exception\ConnectionLostException;
use Jackfield\Exception\JackfieldException;
use Jackfield\Exception\PoolFullException;
use Jackfield\Options;
use Jackfield\Testing\FakeHost;
use Jackfield\Tests\Support\TestCase;
use Jackfield\Tests\Support\Wait;

final class PoolTest extends TestCase
{
    public function testAHundredCallersOfAPoolOfTwenty(): void
    {
        $server = $this->play([[['serve' => 'lifo']]]);
        $client = $this->client($server, timeout: 30.0, maxConnections: 20, maxInFlightPerConnection: 1, fibers: true);
        $answered = 0;
        $most = 0;
        for ($i = 0; $i < 100; $i++) {
            (new \Fiber(function () use ($client, $i, &$answered, &$most): void {
                $answered += (int) ($client->call('system.echo', [$i]) === [$i]);
                $most = max($most, array_sum($client->connections()));
            }))->start();
            $most = max($most, array_sum($client->connections()));
        }
        $client->run();
        self::assertSame(100, $answered);
        self::assertSame(20, $most);
        $client->close();
        self::assertCount(20, $server->finish()['connections']);
    }

    public function testNoRoomUntilTheDeadline(): void
    {
        $client = $this->client($this->play([[['silence' => true]]]), maxConnections: 1, maxInFlightPerConnection: 1);
        $first = $client->callAsync('m', timeout: 5.0);
        $second = $client->callAsync('m', timeout: 0.1);
        self::assertTrue(self::thrown(PoolFullException::class, $second->await(...))->isRetryable());
        self::thrown(PoolFullException::class, fn () => $client->ping(0.1));
        self::assertFalse($first->isDone());
    }

    public function testAnIdleSocketIsBackInThePoolAtOnce(): void
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
    public static function ways(): iterable
    {
        foreach (['sync' => false, 'async' => true] as $name => $async) {
            yield "$name, found by a heartbeat" => [$async, 0.0];
            yield "$name, found by the write" => [$async, 86_400.0];
        }
    }

    /** @dataProvider ways */
    public function testAnIdleSocketThatTheHostClosed(bool $async, float $healthCheckAfter): void
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
            // The host closes an idle connection; the client's end knows at once.
            fclose($peer);
        }
        $scripted = $this->scratch->path('idle.sock');
        fclose($listener);
        unlink($scripted);
        $server = $this->playFile($this->script([['serve' => 'fifo']]), [], $scripted);
        self::assertSame([1], $async
            ? $client->callAsync('system.echo', [1])->await()
            : $client->call('system.echo', [1]), 'no error is seen');
        self::assertCount(1, $server->requests(), 'and nothing was sent twice');
    }

    public function testAllIdleSocketsDeadCostsNoPause(): void
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
        self::assertSame(1, array_sum($client->connections()), 'the dead ones are closed');
        self::assertCount(1, $second->requests());
    }

    public function testTheHeartbeatOnAnIdleSocketIsAnsweredOrTheSocketIsClosed(): void
    {
        $server = $this->play([
            [['expect' => 'sync', 'as' => 'a'], ['reply' => 'a', 'echo' => true], ['expect' => 'heartbeat'], ['silence' => true]],
            [['serve' => 'fifo']],
        ]);
        $client = $this->client($server, timeout: 10.0, healthCheckAfter: 0.0);
        self::assertSame([1], $client->call('system.echo', [1]));
        self::assertSame([2], $client->call('system.echo', [2]), 'a socket whose heartbeat is not answered is given up');
        self::assertSame([3], $client->call('system.echo', [3]));
        $client->close();
        $kinds = array_map(
            static fn (array $connection): array => array_column($connection['frames'], 'kind'),
            $server->finish()['connections']
        );
        self::assertSame([[1, 2], [1, 2, 1]], $kinds);
    }

    public function testAHostThatComesBackLate(): void
    {
        $path = $this->scratch->path('late.sock');
        $client = Client::connect("unix://$path", new Options(timeout: 20.0));
        $future = $client->callAsync('system.echo', ['early']);
        $client->tick(0.05);
        self::assertFalse($future->isDone());
        $this->playFile($this->script([['serve' => 'fifo']]), [], $path);
        self::assertSame(['early'], $future->await());
    }

    public function testAHostKilledUnderLoadIdempotentCallsAllSucceedAndOthersNeverRunTwice(): void
    {
        $file = $this->script([['serve' => 'shuffled']]);
        $server = $this->playFile($file);
        $client = $this->client($server, timeout: 30.0, maxInFlightPerConnection: 50);
        $idempotent = $others = [];
        for ($i = 0; $i < 400; $i++) {
            $idempotent[$i] = $client->callAsync('system.echo', ['idempotent' => $i], idempotent: true);
            $others[$i] = $client->callAsync('system.echo', ['other' => $i]);
        }
        Wait::until(function () use ($client): bool {
            $client->tick(0.001);

            return $client->pending() < 700;
        }, 'some are answered');
        $server->kill();
        unlink($server->socket);
        $second = $this->playFile($file, [], $server->socket);

        $lost = $answered = 0;
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

    public function testAChildHasConnectionsOfItsOwn(): void
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
                $abandoned = $pending->isDone();
                // Without PHP's shutdown: the test's own objects belong to the parent.
                file_put_contents($this->scratch->path("child$child"), "$right " . (int) $abandoned);
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
        self::assertCount(802, array_unique($ids), 'no two processes drew the same ids');
    }

    /** @return iterable<string, array{callable(\Jackfield\Client): mixed}> */
    public static function firstDeedsOfAChild(): iterable
    {
        yield 'call' => [static fn ($client) => $client->call('system.echo', ['child'])];
        yield 'callAsync' => [static fn ($client) => $client->callAsync('system.echo', ['child'])->await()];
        yield 'batch' => [static fn ($client) => $client->batch([['system.echo', ['child']]])[0]];
        yield 'ping' => [static fn ($client) => $client->ping() > 0.0 ? $client->call('system.echo', ['child']) : null];
    }

    /** @dataProvider firstDeedsOfAChild */
    public function testAChildSendsNothingThatItsParentWasToSend(callable $deed): void
    {
        $host = (new FakeHost())->down();
        $client = $host->client();
        $pending = $client->callAsync('system.echo', ['pending']);
        $host->down(false);
        usleep(5_000);
        $pid = pcntl_fork();
        if ($pid === 0) {
            $result = $deed($client);
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
     * The reply to the one async request that has come.
     *
     * @param resource $peer
     */
    private static function answer($peer, mixed $result): string
    {
        $header = unpack('nversion/Ckind/Nlength', (string) fread($peer, 7));
        $request = json_decode((string) fread($peer, $header['length']), true);
        $payload = json_encode(['id' => $request['id'], 'result' => $result]);

        return pack('nCN', 0x0101, 5, strlen($payload)) . $payload;
    }
}
