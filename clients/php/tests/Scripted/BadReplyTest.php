<?php

declare(strict_types=1);

namespace Jackfield\Tests\Scripted;

use Jackfield\Client;
use Jackfield\Exception\JackfieldException;
use Jackfield\Exception\ProtocolException;
use Jackfield\Exception\UnreadableReplyException;
use Jackfield\Options;
use Jackfield\Tests\Support\Peer;
use Jackfield\Tests\Support\TestCase;

/**
 * Tests that a reply that cannot be read only fails its own call.
 */
final class BadReplyTest extends TestCase
{
    /** @var resource */
    private $listener;

    protected function setUp(): void
    {
        parent::setUp();
        $this->listener = stream_socket_server('unix://' . $this->scratch->path('h.sock'));
    }

    /** @return iterable<string, array{string, class-string, string, array<string, mixed>}> */
    public static function badReplies(): iterable
    {
        $deep = str_repeat('[', 600) . str_repeat(']', 600);
        $unreadable = UnreadableReplyException::class;
        yield 'too deep' => [",\"result\":$deep", $unreadable, 'deeper than 512 levels', []];
        yield 'a too deep error' => [
            ",\"error\":{\"code\":1,\"message\":\"m\",\"data\":$deep}", $unreadable, 'deeper than 512 levels', [],
        ];
        yield 'a name that no PHP object has' => [
            ',"result":{"\u0000a":1}', $unreadable, 'use the option associative', ['associative' => false],
        ];
        yield 'half of a surrogate pair' => [',"result":"\ud800"', $unreadable, 'half of a surrogate pair', []];
        yield 'a number beyond floats' => [',"result":1e400', $unreadable, 'too large for a float', []];
        yield 'too large' => [
            ',"result":"' . str_repeat('x', 300_000) . '"', $unreadable,
            'but the limit is 100000 bytes (raise the option maxFrameBytes)', ['maxFrameBytes' => 100_000],
        ];
        yield 'not UTF-8' => [",\"result\":\"\xff\"", ProtocolException::class, 'not valid JSON', []];
        yield 'neither result nor error' => ['', ProtocolException::class, 'neither a result nor an error', []];
        yield 'both' => [',"result":1,"error":{"code":1,"message":"m"}', ProtocolException::class, 'both', []];
        yield 'an error without a code' => [',"error":{}', ProtocolException::class, 'without a code', []];
    }

    /**
     * @dataProvider badReplies
     *
     * @param class-string         $class
     * @param array<string, mixed> $options
     */
    public function testABadReplyFailsOnlyItsOwnCall(string $bad, string $class, string $text, array $options): void
    {
        $client = $this->connect(...$options);
        $futures = [];
        foreach (['first', 'bad', 'last'] as $name) {
            $futures[$name] = $client->callAsync("m.$name", [], timeout: 20.0);
        }
        $peer = stream_socket_accept($this->listener, 5);
        $ids = [];
        foreach ($futures as $name => $_) {
            $ids[$name] = self::receive($peer)['id'];
        }
        $this->reply($client, $peer, 5, "{\"id\":\"{$ids['bad']}\"$bad}");
        $this->reply($client, $peer, 5, "{\"id\":\"{$ids['last']}\",\"result\":\"last\"}");
        $this->reply($client, $peer, 5, "{\"id\":\"{$ids['first']}\",\"result\":\"first\"}");

        $failure = self::thrown($class, $futures['bad']->await(...));
        self::assertSame($class, get_class($failure));
        self::assertStringStartsWith('m.bad: ', $failure->getMessage());
        self::assertStringContainsString($text, $failure->getMessage());
        self::assertSame($class === ProtocolException::class, str_contains($failure->getMessage(), 'the peer'));
        self::assertFalse($failure->isRetryable());
        self::assertSame('first', $futures['first']->await());
        self::assertSame('last', $futures['last']->await());
        self::assertSame(['idle' => 1, 'busy' => 0], $client->connections());
    }

    /**
     * @dataProvider badReplies
     *
     * @param class-string         $class
     * @param array<string, mixed> $options
     */
    public function testASyncCallFailsAndItsConnectionStays(string $bad, string $class, string $text, array $options): void
    {
        $path = $this->scratch->path('h.sock');
        $pid = pcntl_fork();
        if ($pid === 0) {
            $peer = stream_socket_accept($this->listener, 20);
            for ($i = 0; $i < 2; $i++) {
                $id = self::receive($peer)['id'];
                self::send($peer, 1, $i === 0 ? "{\"id\":\"$id\"$bad}" : "{\"id\":\"$id\",\"result\":\"next\"}");
            }
            posix_kill(getmypid(), SIGKILL);
        }

        $client = Client::connect("unix://$path", new Options(...$options, timeout: 20.0));
        $failure = self::thrown($class, static fn (): mixed => $client->call('m.bad'));
        self::assertStringStartsWith('m.bad: ', $failure->getMessage());
        self::assertStringContainsString($text, $failure->getMessage());
        self::assertSame('next', $client->call('m.next'), 'on the same connection');
        pcntl_waitpid($pid, $status);
    }

    /** @return iterable<string, array{string}> */
    public static function repliesWithoutAnId(): iterable
    {
        yield 'more than four times too large' => ['{"id":"%s","result":"' . str_repeat('x', 500_000) . '"}'];
        yield 'too large, with the id at its end' => ['{"result":"' . str_repeat('x', 300_000) . '","id":"%s"}'];
        yield 'not JSON' => ['x'];
    }

    /** @dataProvider repliesWithoutAnId */
    public function testAReplyWhoseIdIsUnknownEndsTheConnection(string $payload): void
    {
        $client = $this->connect(maxFrameBytes: 100_000, maxTries: 1);
        $futures = [$client->callAsync('m', timeout: 20.0), $client->callAsync('m', timeout: 20.0)];
        $peer = stream_socket_accept($this->listener, 5);
        $id = self::receive($peer)['id'];
        $this->reply($client, $peer, 5, str_replace('%s', $id, $payload));

        foreach ($futures as $future) {
            self::assertInstanceOf(ProtocolException::class, self::thrown(JackfieldException::class, $future->await(...)));
        }
        self::assertSame(['idle' => 0, 'busy' => 0], $client->connections());
    }

    private function connect(mixed ...$options): Client
    {
        return Client::connect('unix://' . $this->scratch->path('h.sock'), new Options(...$options));
    }

    /**
     * @param resource $peer
     *
     * @return array<string, mixed>
     */
    private static function receive($peer): array
    {
        return Peer::receive($peer)['body'];
    }

    /**
     * Sends a reply while the client reads.
     *
     * @param resource $peer
     */
    private function reply(Client $client, $peer, int $kind, string $payload): void
    {
        stream_set_blocking($peer, false);
        $frame = pack('nCN', 0x0101, $kind, strlen($payload)) . $payload;
        while ($frame !== '' && $client->pending() > 0) {
            $frame = substr($frame, (int) @fwrite($peer, $frame));
            $client->tick(0.001);
        }
    }

    /** @param resource $peer */
    private static function send($peer, int $kind, string $payload): void
    {
        fwrite($peer, pack('nCN', 0x0101, $kind, strlen($payload)) . $payload);
    }
}
