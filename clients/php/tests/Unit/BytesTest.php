<?php

declare(strict_types=1);

namespace Jackfield\Tests\Unit;

use Jackfield\Bytes;
use Jackfield\Exception\InvalidRequestException;
use Jackfield\Exception\RemoteException;
use Jackfield\Exception\UnreadableReplyException;
use Jackfield\Exception\UnsupportedException;
use Jackfield\Options;
use Jackfield\Testing\FakeHost;
use Jackfield\Tests\Support\TestCase;

/**
 * Tests params and results that are opaque bytes.
 */
final class BytesTest extends TestCase
{
    private const IMAGE = "\x89PNG\x00\xff";

    public function testBytesCrossAsTheyAreInBothDirections(): void
    {
        $host = (new FakeHost())
            ->on('size', static fn (Bytes $bytes): int => strlen($bytes->bytes))
            ->on('image', static fn (array $params): Bytes => new Bytes(str_repeat(self::IMAGE, $params['n'])))
            ->on('fails', static fn (): never => throw RemoteException::from(7, 'no image', null));
        $large = random_bytes(1 << 20);
        foreach ([false, true] as $async) {
            $client = $host->client();
            $call = static fn (string $how, mixed ...$arguments): mixed => $async
                ? $client->{"{$how}Async"}(...$arguments)->await()
                : $client->{$how}(...$arguments);

            self::assertSame(self::IMAGE, $call('callBytes', 'system.echo', self::IMAGE), 'the first call');
            self::assertSame($large, $call('callBytes', 'system.echo', $large));
            self::assertSame('', $call('callBytes', 'system.echo', ''));
            self::assertSame(6, $call('call', 'size', new Bytes(self::IMAGE)));
            self::assertSame(self::IMAGE . self::IMAGE, $call('callBytes', 'image', ['n' => 2]));
            self::assertSame(self::IMAGE, (string) $call('call', 'image', ['n' => 1]));
            $fails = static fn (): mixed => $call('callBytes', 'fails', 'x');
            self::assertSame(7, self::thrown(RemoteException::class, $fails)->getCode());

            $json = static fn (): mixed => $call('callBytes', 'size', 'x');
            self::assertStringContainsString(
                'size: the result is JSON, not bytes',
                self::thrown(UnreadableReplyException::class, $json)->getMessage()
            );
            self::assertSame(['idle' => 1, 'busy' => 0], $client->connections());
        }
    }

    public function testBytesWithoutTheGrantFailBeforeAnythingIsSent(): void
    {
        $host = (new FakeHost())->version11();
        foreach ([$host->client(), $host->client(new Options(hello: false))] as $client) {
            $calls = [
                static fn (): mixed => $client->callBytes('system.echo', 'x'),
                static fn (): mixed => $client->callBytes('system.echo', ['x']),
                static fn (): mixed => $client->call('system.echo', new Bytes('x')),
                static fn (): mixed => $client->callBytesAsync('system.echo', 'x')->await(),
                static fn (): mixed => $client->callAsync('system.echo', new Bytes('x'))->await(),
            ];
            foreach ($calls as $call) {
                $failure = self::thrown(UnsupportedException::class, $call);
                self::assertFalse($failure->isRetryable());
                self::assertStringStartsWith('system.echo: the host accepts no bytes', $failure->getMessage());
            }
            self::assertSame([], $host->calls());
            self::assertSame(['idle' => $client->connections()['idle'], 'busy' => 0], $client->connections());
        }
    }

    public function testBytesAreNoPartOfOtherParams(): void
    {
        $client = (new FakeHost())->client();
        $nested = static fn (): mixed => $client->call('system.echo', ['image' => new Bytes('x')]);
        self::assertStringContainsString(
            'Bytes must be the params themselves',
            self::thrown(InvalidRequestException::class, $nested)->getMessage()
        );
    }

    public function testBatchesMixBytesAndJson(): void
    {
        $outcomes = (new FakeHost())->client()->batch([
            'a' => ['system.echo', new Bytes('x')], 'b' => ['system.echo', 1], 'c' => ['system.echo', new Bytes('y')],
        ]);
        self::assertEquals(['a' => new Bytes('x'), 'b' => 1, 'c' => new Bytes('y')], $outcomes);
    }
}
