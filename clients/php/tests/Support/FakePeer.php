<?php

declare(strict_types=1);

namespace Jackfield\Tests\Support;

use Jackfield\Client;
use Jackfield\Options;
use Jackfield\Transport\Connector;
use Jackfield\Transport\StreamTransport;
use Jackfield\Transport\Transport;
use Jackfield\Wire\Hello;

/**
 * A host inside the test process whose answers a function of the test returns, frame by frame.
 */
final class FakePeer implements Connector
{
    public const ALL = Hello::BLOCK | Hello::CANCEL | Hello::TIMING | Hello::GOING_AWAY;

    /** @var list<list<array<string, mixed>>> the frames of each connection, and in which write */
    public array $frames = [];

    /** @var array<int, resource> the host's ends of the connections */
    public array $ends = [];

    /**
     * @param \Closure(int, array<string, mixed>): ?string $answer receives the number of the
     *        connection and the frame; null closes the connection
     * @param bool $isReused whether the connections are sockets that an earlier request used
     */
    public function __construct(private readonly \Closure $answer, private readonly bool $isReused = false)
    {
    }

    public function client(mixed ...$options): Client
    {
        return Client::over($this, new Options(...$options));
    }

    public function connect(): Transport
    {
        [$client, $end] = stream_socket_pair(STREAM_PF_UNIX, STREAM_SOCK_STREAM, 0);
        $number = count($this->frames);
        $this->frames[] = [];
        $this->ends[$number] = $end;

        return new class ($client, $this->isReused && $number === 0, fn (string $b): bool => $this->receive($number, $b)) extends
            StreamTransport {
            /** @param resource $stream */
            public function __construct($stream, private readonly bool $isReused, private readonly \Closure $receive)
            {
                parent::__construct($stream);
            }

            public function write(string $bytes, int $offset = 0): ?int
            {
                return ($this->receive)(substr($bytes, $offset)) ? strlen($bytes) - $offset : null;
            }

            public function hasHistory(): bool
            {
                return $this->isReused;
            }
        };
    }

    public function address(): string
    {
        return 'fake peer';
    }

    /** @return list<string> version and kind of each frame of a connection, such as `0101 04` */
    public function seen(int $connection): array
    {
        return array_map(
            static fn (array $frame): string => sprintf('%04x %02x', $frame['version'], $frame['kind']),
            $this->frames[$connection]
        );
    }

    public static function frame(int $version, int $kind, string $payload): string
    {
        return pack('nCN', $version, $kind, strlen($payload)) . $payload;
    }

    /**
     * Returns the answer to a hello.
     *
     * @param array{payload: string} $hello
     */
    public static function grant(array $hello, int $capabilities = self::ALL, ?string $nonce = null): string
    {
        return self::frame(0x0100, 2, "IPC2\x01\x01" . pack('nJNN', 0x0102, $capabilities, 1 << 24, 64)
            . ($nonce ?? substr($hello['payload'], 24, 8)) . "\x01\x00\x02me\x03\x00\x01\x03");
    }

    /**
     * Returns the reply to a request, in the version of the request.
     *
     * @param array{version: int, kind: int, payload: string} $request
     * @param string $members `"result":…` or `"error":…`
     */
    public static function reply(array $request, string $members): string
    {
        $id = json_decode($request['payload'], true)['id'];
        $kind = $request['kind'] === 4 ? 5 : 1;
        $body = "{\"id\":\"$id\",$members}";

        return $request['version'] === 0x0102
            ? self::frame(0x0102, $kind | 0x80, "\x00\x0E\x0E\x0C" . pack('N3', 5, 70, 3) . $body)
            : self::frame($request['version'], $kind, $body);
    }

    private function receive(int $number, string $bytes): bool
    {
        if (!isset($this->ends[$number])) {
            return false;
        }

        $write = 1 + (array_key_last($this->frames[$number]) === null ? 0 : end($this->frames[$number])['write']);
        while ($bytes !== '') {
            ['version' => $version, 'kind' => $kind, 'length' => $length] = unpack('nversion/Ckind/Nlength', $bytes);
            $frame = ['write' => $write, 'version' => $version, 'kind' => $kind, 'payload' => substr($bytes, 7, $length)];
            $bytes = substr($bytes, 7 + $length);
            $this->frames[$number][] = $frame;
            $answer = ($this->answer)($number, $frame);
            if ($answer === null) {
                fclose($this->ends[$number]);
                unset($this->ends[$number]);

                return true;
            }
            fwrite($this->ends[$number], $answer);
        }

        return true;
    }
}
