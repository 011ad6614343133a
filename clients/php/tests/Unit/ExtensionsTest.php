<?php

declare(strict_types=1);

namespace Jackfield\Tests\Unit;

use Jackfield\Call\ReplyFailure;
use Jackfield\Client;
use Jackfield\Exception\CancelledException;
use Jackfield\Exception\GoingAwayException;
use Jackfield\Exception\JackfieldException;
use Jackfield\Exception\RemoteException;
use Jackfield\Exception\TimeoutException;
use Jackfield\Exception\UnreadableReplyException;
use Jackfield\Options;
use Jackfield\Testing\FakeHost;
use Jackfield\Tests\Support\FakePeer;
use Jackfield\Tests\Support\TestCase;
use Jackfield\Wire\Hello;

/**
 * Tests what a host of version 1.2 grants: cancellation, notices of its end and timings, and whose
 * deadline a time-out was.
 */
final class ExtensionsTest extends TestCase
{
    public function testCancelAsksTheHostToEndASentCall(): void
    {
        $host = (new FakeHost())->silent('slow')->silent('other');
        $client = $host->client();
        $client->call('system.ping');
        $slow = $client->callAsync('slow');
        $other = $client->callAsync('other');
        self::assertTrue($slow->cancel());
        self::thrown(CancelledException::class, $slow->await(...));
        self::assertSame(['slow'], $host->cancelled());

        self::assertSame('pong', $client->callAsync('system.ping')->await(), 'on the same connection');
        self::assertSame(['idle' => 0, 'busy' => 1], $client->connections());
        $other->cancel();
        $client->tick(1.0);
        self::assertSame(['idle' => 1, 'busy' => 0], $client->connections(), 'both replies were read and dropped');
    }

    public function testACancelBeforeTheHelloIsAnsweredFollowsTheAnswer(): void
    {
        $host = (new FakeHost())->silent('slow');
        $client = $host->client();
        $slow = $client->callAsync('slow');
        $slow->cancel();
        self::assertSame([], $host->cancelled());
        $client->tick(1.0);
        self::assertSame(['slow'], $host->cancelled());
    }

    public function testCancelStaysLocalWithoutTheGrantAndForCallsThatWereNotSent(): void
    {
        foreach ([FakePeer::ALL & ~Hello::CANCEL, null, FakePeer::ALL] as $granted) {
            $peer = new FakePeer(static fn (int $n, array $frame): string => match (true) {
                $frame['kind'] !== 2 => '',
                $granted === null => FakePeer::frame(0x0100, 2, ''),
                default => FakePeer::grant($frame, $granted),
            });
            $client = $peer->client(maxConnections: 1, maxInFlightPerConnection: 1);
            $sent = $client->callAsync('m');
            $client->tick(1.0);
            $waiting = $client->callAsync('m');
            $waiting->cancel();
            $before = count($peer->frames[0]);
            $sent->cancel();
            $new = array_slice($peer->seen(0), $before);
            self::assertSame($granted === FakePeer::ALL ? ['0102 06'] : [], $new);
            self::assertSame(2, $before, 'the call that waited was not sent');
        }
    }

    public function testADeadlineSendsNoCancel(): void
    {
        $host = (new FakeHost())->silent('slow');
        $client = $host->client();
        $client->call('system.ping');
        self::thrown(TimeoutException::class, $client->callAsync('slow', timeout: 0.01)->await(...));
        self::assertSame([], $host->cancelled(), 'the host knows the deadline');
    }

    public function testOnlyTheDeadlineOfTheClientIsATimeout(): void
    {
        $options = new Options();
        $error = ['code' => -32001, 'message' => 'late', 'data' => ['timeout_ms' => 50]];
        $failure = static fn (int $remaining): \Throwable
            => ReplyFailure::of($error, 'm', 0, hrtime(true) + $remaining, null, $options);

        $early = $failure(1_000_000_000);
        self::assertInstanceOf(RemoteException::class, $early);
        self::assertSame(['timeout_ms' => 50], $early->data());
        foreach ([0, -1_000_000, 500_000] as $remaining) {
            $late = $failure($remaining);
            self::assertInstanceOf(TimeoutException::class, $late);
            self::assertSame([TimeoutException::WAIT, false], [$late->phase, $late->isRetryable()]);
            self::assertStringStartsWith('m: the deadline passed before the reply arrived (after', $late->getMessage());
        }
    }

    public function testATimeoutOfTheHostItselfIsARemoteException(): void
    {
        $host = (new FakeHost())->on('m', static fn (): never => throw RemoteException::from(-32001, 'late', null));
        $client = $host->client();
        foreach ([fn () => $client->call('m'), fn () => $client->callAsync('m')->await()] as $call) {
            self::assertSame(-32001, self::thrown(RemoteException::class, $call)->getCode());
        }
    }

    public function testAResultAboveTheLimitOfTheClientIsUnreadable(): void
    {
        $peer = new FakePeer(static fn (int $n, array $frame): string => $frame['kind'] === 2
            ? FakePeer::grant($frame)
            : FakePeer::reply($frame, '"error":{"code":-32603,"message":"large","data":{"limit":5000}}'));
        foreach ([[5_000, UnreadableReplyException::class], [6_000, RemoteException::class]] as [$limit, $class]) {
            $client = $peer->client(maxFrameBytes: $limit);
            self::thrown($class, static fn (): mixed => $client->call('m'));
            self::thrown($class, $client->callAsync('m')->await(...));
        }
    }

    public function testANoticeOfTheEndMovesLaterCallsToANewConnection(): void
    {
        $notice = FakePeer::frame(0x0102, 0x0A, '{"reason":"shutdown","grace_ms":5000}');
        foreach (['call', 'callAsync'] as $how) {
            foreach ([FakePeer::ALL, FakePeer::ALL & ~Hello::GOING_AWAY] as $granted) {
                $peer = new FakePeer(static fn (int $n, array $frame): string => $frame['kind'] === 2
                    ? FakePeer::grant($frame, $granted)
                    : ($n === 0 ? $notice : '') . FakePeer::reply($frame, "\"result\":$n"));
                $client = $peer->client();
                $call = static fn (): mixed => $how === 'call' ? $client->call('m') : $client->callAsync('m')->await();

                $second = $granted === FakePeer::ALL ? 1 : 0;
                self::assertSame([0, $second, $second], [$call(), $call(), $call()]);
            }
        }
    }

    public function testANoticeOfTheEndOnAnIdleConnectionIsSeenByTheNextCall(): void
    {
        $host = new FakeHost();
        $client = $host->client();
        $client->call('system.ping');
        $host->restart();
        self::assertSame(1, $client->call('system.echo', 1));
        self::assertSame([1, 2], $client->batch([['system.echo', 1], ['system.echo', 2]]));
        self::assertCount(4, $host->calls(), 'nothing ran twice');
    }

    /** @return iterable<string, array{callable(Client): mixed}> */
    public static function modes(): iterable
    {
        yield 'sync' => [static fn (Client $c): mixed => $c->call('m', timeout: 5.0)];
        yield 'async' => [static fn (Client $c): mixed => $c->callAsync('m', timeout: 5.0)->await()];
    }

    /** @dataProvider modes */
    public function testARequestThatTheHostDidNotBeginIsSentAgainAsLongAsThereIsTime(callable $call): void
    {
        $goingAway = '"error":{"code":-32009,"message":"restarting","data":{"retry_after_ms":1}}';
        $peer = new FakePeer(static fn (int $n, array $frame): string => $frame['kind'] === 2
            ? FakePeer::grant($frame)
            : FakePeer::reply($frame, $n < 6 ? $goingAway : "\"result\":$n"));
        self::assertSame(6, $call($peer->client(maxTries: 1)));
        self::assertCount(7, $peer->frames, 'each time over a new connection');
    }

    public function testTheTimeOutBoundsTheTriesWithAHostThatIsGoingAway(): void
    {
        $goingAway = '"error":{"code":-32009,"message":"restarting"}';
        $peer = new FakePeer(static fn (int $n, array $frame): string => $frame['kind'] === 2
            ? FakePeer::grant($frame)
            : FakePeer::reply($frame, $goingAway));
        $client = $peer->client(timeout: 0.1);
        foreach ([static fn () => $client->call('m'), $client->callAsync('m')->await(...)] as $call) {
            // On a busy machine, the time may be up while a reply is awaited.
            $failure = self::thrown(JackfieldException::class, $call);
            self::assertContains(get_class($failure), [GoingAwayException::class, TimeoutException::class]);
        }
        self::assertLessThan(50, count($peer->frames), 'the backoff delays the tries');
    }

    /** @dataProvider modes */
    public function testARequestThatTheHostNeverReadIsSentAgain(callable $call): void
    {
        // The host closes the first connection with the request unread.
        $path = $this->scratch->path('unread.sock');
        $listener = stream_socket_server("unix://$path");
        $pid = pcntl_fork();
        if ($pid === 0) {
            $peer = stream_socket_accept($listener, 20);
            stream_socket_recvfrom($peer, 1);
            fclose($peer);
            $peer = stream_socket_accept($listener, 20);
            $request = \Jackfield\Tests\Support\Peer::receive($peer);
            fwrite($peer, FakePeer::reply(['payload' => json_encode($request['body'])] + $request, '"result":"again"'));
            // The connection stays open until the parent has the reply and kills this process.
            @stream_socket_accept($listener, 20);
            posix_kill(getmypid(), SIGKILL);
        }

        self::assertSame('again', $call(Client::connect("unix://$path")), 'although the call is not idempotent');
        posix_kill($pid, SIGKILL);
        pcntl_waitpid($pid, $status);
    }

    public function testReturnsTheTimingOfEachCall(): void
    {
        $peer = new FakePeer(static fn (int $n, array $frame): ?string => match (true) {
            $frame['kind'] === 2 => FakePeer::grant($frame),
            str_contains($frame['payload'], 'fails') => FakePeer::reply($frame, '"error":{"code":1,"message":"m"}'),
            str_contains($frame['payload'], 'hangs.up') => null,
            default => FakePeer::reply($frame, '"result":1'),
        });
        $client = $peer->client();
        $timing = static fn (): array => array_values((array) $client->lastTiming());
        self::assertNull($client->lastTiming());
        $client->call('m');
        self::assertNull($client->lastTiming(), 'the first request has the form of version 1.1');

        $client->call('m');
        self::assertSame([5, 70, 3], $timing());
        self::thrown(\Throwable::class, static fn () => $client->call('hangs.up'));
        self::assertNull($client->lastTiming());
        $client->call('m');
        self::thrown(RemoteException::class, static fn () => $client->call('fails'));
        self::assertSame([5, 70, 3], $timing());

        $future = $client->callAsync('m');
        self::assertNull($future->timing());
        $client->call('m');
        self::assertSame([5, 70, 3], $timing(), 'beside an async call');
        $future->await();
        self::assertSame([5, 70, 3], array_values((array) $future->timing()));
    }
}
