<?php

declare(strict_types=1);

namespace Jackfield\Tests\Unit;

use Jackfield\Exception\ConnectionLostException;
use Jackfield\Tests\Support\FakePeer;
use Jackfield\Tests\Support\TestCase;
use Jackfield\Tests\Support\Vector;
use Jackfield\Wire\Header;
use Jackfield\Wire\Hello;

/**
 * Tests the hello: its bytes, when it is sent, and what its answer changes.
 */
final class HelloTest extends TestCase
{
    public function testIsAHeartbeatWithTheLayoutOfTheProtocol(): void
    {
        $fields = '01' . '0013' . bin2hex('jackfield-php/0.1.0') . '03' . '0001' . '03';
        $payload = bin2hex('IPC2') . '0100' . '0102' . '0000000000001805' . '01000000' . '00000040'
            . '0102030405060708' . $fields;
        self::assertSame(
            '010002' . sprintf('%08x', strlen($payload) / 2) . $payload,
            bin2hex((new Hello(1 << 24, 64, true))->frame("\1\2\3\4\5\6\7\x08"))
        );
        self::assertStringContainsString('0000000000001005', bin2hex((new Hello(1, 1, false))->frame('12345678')));
    }

    /** @return iterable<string, array{Vector}> */
    public static function vectors(): iterable
    {
        foreach (Vector::all() as $name => $vector) {
            if (isset($vector->heads['hello'])) {
                yield $name => [$vector];
            }
        }
        yield 'an empty answer' => [Vector::parse("hello: none\n\n01 00 02 00 00 00 00\n")];
    }

    /** @dataProvider vectors */
    public function testReadsOnlyAnAcknowledgementAsAGrant(Vector $vector): void
    {
        $grant = Hello::answer(substr($vector->bytes, Header::LENGTH));

        if ($vector->heads['hello'] !== 'grant') {
            self::assertNull($grant);

            return;
        }
        self::assertNotNull($grant);
        self::assertSame(hexdec($vector->heads['capabilities']), $grant->capabilities);
        self::assertSame((int) $vector->heads['largest'], $grant->maxPayload);
        self::assertSame((int) $vector->heads['in_flight'], $grant->maxInFlight);
        self::assertSame($vector->heads['nonce'], '0x' . bin2hex($grant->nonce));
        self::assertSame(($vector->heads['content'] ?? '') === 'bytes', $grant->hasBytes);
    }

    /** @return iterable<string, array{\Closure, string}> the answer, and the version afterwards */
    public static function answers(): iterable
    {
        yield 'granted' => [static fn (array $hello): string => FakePeer::grant($hello), '0102'];
        yield 'no extension block' => [static fn (array $hello): string => FakePeer::grant($hello, Hello::CANCEL), '0101'];
        yield 'empty' => [static fn (): string => FakePeer::frame(0x0100, 2, ''), '0101'];
        yield 'echoed' => [static fn (array $hello): string => FakePeer::frame(0x0100, 2, $hello['payload']), '0101'];
        yield 'another nonce' => [
            static fn (array $hello): string => FakePeer::grant($hello, nonce: 'xxxxxxxx'), '0101',
        ];
    }

    /** @dataProvider answers */
    public function testTheFirstRequestFollowsTheHelloInOneWriteAndLaterOnesDependOnTheAnswer(
        \Closure $answer,
        string $version,
    ): void {
        foreach (['01' => 'call', '04' => 'callAsync'] as $kind => $how) {
            $peer = new FakePeer(static fn (int $n, array $frame): string => $frame['kind'] === 2
                ? $answer($frame)
                : FakePeer::reply($frame, '"result":1'));
            $client = $peer->client();
            for ($i = 0; $i < 3; $i++) {
                self::assertSame(1, $how === 'call' ? $client->call('m') : $client->callAsync('m')->await());
            }

            self::assertSame(['0100 02', "0101 $kind", "$version $kind", "$version $kind"], $peer->seen(0));
            self::assertSame([1, 1, 2, 3], array_column($peer->frames[0], 'write'));
            self::assertSame(['idle' => 1, 'busy' => 0], $client->connections());
        }
    }

    public function testTheOptionTurnsTheHelloOffButNotTheMembers(): void
    {
        $peer = new FakePeer(static fn (int $n, array $frame): string => FakePeer::reply($frame, '"result":1'));
        $client = $peer->client(hello: false, meta: ['a' => 'b']);
        $client->call('m');
        $client->callAsync('m')->await();

        self::assertSame(['0101 01', '0101 04'], $peer->seen(0));
        self::assertSame(['id', 'method', 'meta', 'deadline_ms'], array_keys(json_decode($peer->frames[0][1]['payload'], true)));
    }

    public function testPingUsesTheHelloAsItsHeartbeat(): void
    {
        $peer = new FakePeer(static fn (int $n, array $frame): string => strlen($frame['payload']) > 0
            ? FakePeer::grant($frame)
            : FakePeer::frame($frame['version'], 2, ''));
        $client = $peer->client();
        $client->ping();
        $client->ping();
        self::assertSame(['0100 02', '0100 02'], $peer->seen(0));
        self::assertSame([true, false], array_map(static fn (array $f): bool => $f['payload'] !== '', $peer->frames[0]));
    }

    public function testAConnectionWhoseHelloIsNotAnsweredBeforeTheFirstReplyIsNotReused(): void
    {
        foreach (['call', 'callAsync'] as $how) {
            $peer = new FakePeer(static fn (int $n, array $frame): string => $frame['kind'] === 2
                ? ''
                : FakePeer::reply($frame, '"result":1'));
            $client = $peer->client();
            self::assertSame(1, $how === 'call' ? $client->call('m') : $client->callAsync('m')->await());
            self::assertSame(['idle' => 0, 'busy' => 0], $client->connections());
        }
    }

    /** @return iterable<string, array{\Closure(array{payload: string}): string}> */
    public static function framesOfEarlierRequests(): iterable
    {
        yield 'the answer to another hello' => [
            static fn (array $hello): string => FakePeer::grant($hello, nonce: 'xxxxxxxx'),
        ];
        foreach ([1, 5] as $kind) {
            yield "a reply of kind $kind" => [
                static fn (array $hello): string => FakePeer::frame(0x0101, $kind, '{"id":"old","result":1}')
                    . FakePeer::grant($hello),
            ];
        }
    }

    /** @dataProvider framesOfEarlierRequests */
    public function testAReusedSocketThatIsNotInStepIsClosed(\Closure $answer): void
    {
        foreach (['call', 'callAsync'] as $how) {
            foreach ([true, false] as $idempotent) {
                $peer = new FakePeer(static fn (int $n, array $frame): string => match (true) {
                    $frame['kind'] !== 2 => FakePeer::reply($frame, "\"result\":$n"),
                    $n === 0 => $answer($frame),
                    default => FakePeer::grant($frame),
                }, isReused: true);
                $client = $peer->client();
                $call = static fn (): mixed => $how === 'call'
                    ? $client->call('m', idempotent: $idempotent)
                    : $client->callAsync('m', idempotent: $idempotent)->await();

                if ($idempotent) {
                    self::assertSame(1, $call(), 'sent again on a new connection');
                } else {
                    $failure = self::thrown(ConnectionLostException::class, $call);
                    self::assertFalse($failure->isRetryable(), 'the host may have run it');
                    self::assertStringContainsString('not in step', $failure->getMessage());
                    self::assertSame(1, $client->call('m'), 'the next call uses a new connection');
                }
            }
        }
    }

    public function testAReusedSocketOfAnOldHostNeedsNoRoundTrip(): void
    {
        $peer = new FakePeer(static fn (int $n, array $frame): string => $frame['kind'] === 2
            ? FakePeer::frame(0x0100, 2, '')
            : FakePeer::reply($frame, '"result":1'), isReused: true);
        $client = $peer->client();
        self::assertSame(1, $client->call('m'));
        self::assertSame([1, 1], array_column($peer->frames[0], 'write'));
        self::assertSame(['0100 02', '0101 01'], $peer->seen(0));
    }

    public function testTheGrantLimitsTheRequestsInFlight(): void
    {
        $peer = new FakePeer(static fn (int $n, array $frame): string => $frame['kind'] === 2 ? FakePeer::grant($frame) : '');
        $client = $peer->client();
        $client->callAsync('m');
        $client->tick(1.0);
        for ($i = 0; $i < 99; $i++) {
            $client->callAsync('m');
        }
        self::assertCount(1 + 64, $peer->frames[0]);
        self::assertCount(1 + 36, $peer->frames[1]);
        $client->close();
    }
}
