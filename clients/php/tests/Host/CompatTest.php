<?php

declare(strict_types=1);

namespace Jackfield\Tests\Host;

use Jackfield\Compat\UnixSocketReader;
use Jackfield\Exception\ConnectException;
use Jackfield\Exception\PoolFullException;
use Jackfield\Tests\Support\JackfieldHost;
use Jackfield\Tests\Support\TestCase;
use Jackfield\Tests\Support\Wait;

/**
 * Tests the class for call sites of a class that packs frames itself.
 */
final class CompatTest extends TestCase
{
    private const AUTOLOAD = __DIR__ . '/../../autoload.php';
    private const HEARTBEAT = "\x01\x00\x02\x00\x00\x00\x00";

    private ?JackfieldHost $host = null;

    protected function tearDown(): void
    {
        $this->host?->stop();
        $this->host = null;
        parent::tearDown();
    }

    public function testRunsCallSitesOfTheReplacedClassWithAnotherUseLine(): void
    {
        $this->host = JackfieldHost::start($this->scratch, ['device']);
        $script = (string) file_get_contents(__DIR__ . '/scripts/call-sites.php');
        $script = strtr($script, [
            'use Develop\Reader\UnixSocketReader;' =>
                'use Jackfield\Compat\UnixSocketReader; require ' . var_export(self::AUTOLOAD, true) . ';',
            '/run/ipc.sock' => $this->host->socket,
        ]);
        file_put_contents($this->scratch->path('call-sites.php'), $script);

        $process = proc_open(
            [PHP_BINARY, '-d', 'display_errors=1', '-d', 'error_reporting=-1', $this->scratch->path('call-sites.php')],
            [['file', '/dev/null', 'r'], ['pipe', 'w'], ['redirect', 1]],
            $pipes
        );
        $output = (string) stream_get_contents($pipes[1]);

        self::assertSame(0, proc_close($process), $output);
        self::assertSame(<<<'TEXT'
            update 50 of dev_123
            r-7: -32601 method not found: no.such.method
            1000000 bytes
            a message needs a string "method"
            update: "offline"
            report: 408
            01000200000000
            reused
            end
            last: "pong"

            TEXT, $output);
    }

    public function testThrowsARuntimeExceptionWithoutAHost(): void
    {
        $reader = new UnixSocketReader($this->scratch->path('missing.sock'), new \Jackfield\Options(timeout: 0.1));
        $calls = [
            fn () => $reader->sendAndReceive(['method' => 'system.ping']),
            fn () => $reader->getConnection(),
        ];
        foreach ($calls as $call) {
            self::thrown(\RuntimeException::class, $call);
        }

        // An async call reports the failure to its callback, once.
        $replies = [];
        $id = $reader->sendAsync(['method' => 'system.ping'], static function (array $reply) use (&$replies): void {
            $replies[] = $reply;
        });
        $reader->asyncReadLoop();
        self::assertSame([[$id, 0]], array_map(static fn (array $reply): array => [
            $reply['id'],
            $reply['error']['code'],
        ], $replies));
    }

    public function testAcceptsMessagesThatAreObjects(): void
    {
        $this->host = JackfieldHost::start($this->scratch);
        $reader = new UnixSocketReader($this->host->address);
        $serializable = new class () implements \JsonSerializable {
            /** @return array<string, mixed> */
            public function jsonSerialize(): array
            {
                return ['method' => 'system.echo', 'params' => [1]];
            }
        };

        self::assertSame(['result' => [1]], $reader->sendAndReceive($serializable));
        $message = (object) ['id' => 7, 'method' => 'system.echo', 'params' => [2], 'timestamp' => 'now'];
        self::assertSame(['id' => 7, 'result' => [2]], $reader->sendAndReceive($message));
    }

    public function testLendsNoConnectionWithUnreadBytesAndNoMoreThanTheMaximum(): void
    {
        $this->host = JackfieldHost::start($this->scratch);
        $reader = new UnixSocketReader($this->host->socket);

        // The answer to a heartbeat is not read.
        $socket = $reader->getConnection();
        socket_write($socket, self::HEARTBEAT);
        Wait::until(static fn (): bool => self::hasBytes($socket), 'the answer has arrived');
        $reader->release($socket);
        self::assertNotSame($socket, $reader->getConnection());

        $lent = [];
        for ($i = 0; $i < 20; $i++) {
            $lent[] = $reader->getConnection();
        }
        self::thrown(PoolFullException::class, $reader->getConnection(...));
        $reader->release(array_pop($lent));
        $lent[] = $reader->getConnection();

        // A socket that its owner drops without release() is closed, and makes room.
        array_pop($lent);
        $lent[] = $reader->getConnection();
        self::thrown(PoolFullException::class, $reader->getConnection(...));
    }

    public function testLendsNoConnectionThatTheHostHasClosed(): void
    {
        $this->host = JackfieldHost::start($this->scratch);
        $reader = new UnixSocketReader($this->host->socket);
        $reader->release($reader->getConnection());

        $this->host->stop();
        self::thrown(ConnectException::class, $reader->getConnection(...));
        $this->host->launch();

        $socket = $reader->getConnection();
        socket_write($socket, self::HEARTBEAT);
        self::assertSame(self::HEARTBEAT, socket_read($socket, 7));
    }

    public function testAChildProcessLeavesTheCallsOfItsParentAlone(): void
    {
        $this->host = JackfieldHost::start($this->scratch, ['device']);
        $reader = new UnixSocketReader($this->host->socket);
        $called = $this->scratch->path('called');
        $update = ['method' => 'device.status.update', 'params' => ['deviceId' => 'd', 'status' => 'online']];
        $reader->sendAsync(
            ['method' => 'device.report', 'params' => ['deviceId' => 'd', 'withinMs' => 20_000]],
            static fn (array $reply) => file_put_contents($called, getmypid() . "\n", FILE_APPEND)
        );
        $socket = $reader->getConnection();
        $reader->release($socket);

        $child = pcntl_fork();
        if ($child === 0) {
            $isOther = $reader->getConnection() !== $socket;
            $reader->__destruct();
            file_put_contents($this->scratch->path('child'), $isOther ? 'other' : 'same');
            posix_kill((int) getmypid(), SIGKILL);
        }
        pcntl_waitpid($child, $status);
        // A report that begins after an update waits for the next one.
        Wait::until(static function () use ($reader, $update, $called): bool {
            $reader->sendAndReceive($update);

            return is_file($called);
        }, 'the callback was called');

        self::assertSame('other', file_get_contents($this->scratch->path('child')));
        self::assertSame(getmypid() . "\n", file_get_contents($called));
    }

    private static function hasBytes(\Socket $socket): bool
    {
        [$read, $write, $except] = [[$socket], null, null];

        return socket_select($read, $write, $except, 0) === 1;
    }
}
