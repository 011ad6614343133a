<?php

declare(strict_types=1);

namespace Jackfield\Tests\Unit;

use Jackfield\Client;
use Jackfield\Options;
use Jackfield\Tests\Support\TestCase;
use Jackfield\Transport\PersistentConnector;
use Jackfield\Transport\PersistentTransport;

/**
 * Tests the clean marker of persistent sockets within one process.
 *
 * PHP keeps a socket open after its owner has left it, as it does between two PHP requests.
 */
final class PersistentTransportTest extends TestCase
{
    /** @var resource */
    private $listener;
    private PersistentConnector $connector;

    protected function setUp(): void
    {
        parent::setUp();
        $this->listener = stream_socket_server('unix://' . $this->scratch->path('p.sock'));
        $this->connector = new PersistentConnector('unix://' . $this->scratch->path('p.sock'), 3);
    }

    public function testReusesASocketThatWasLeftClean(): void
    {
        [$transport, $peer] = $this->connect();
        self::assertFalse($transport->hasHistory());
        self::assertTrue($transport->begin());
        $transport->write('request');
        fwrite($peer, 'reply');
        self::assertSame('reply', $transport->read());
        $transport->end();
        $transport->leave();

        [$again, $second] = $this->connect();
        self::assertNull($second, 'no new connection');
        self::assertTrue($again->hasHistory());
        self::assertTrue($again->begin());
        $again->close();
    }

    /** @return iterable<string, array{\Closure(PersistentTransport, resource): void}> */
    public static function uncleanUses(): iterable
    {
        yield 'before the first byte' => [static function (PersistentTransport $t): void {
            $t->write('x');
            $t->end();
            $t->begin();
        }];
        yield 'after the request' => [static function (PersistentTransport $t): void {
            $t->begin();
            $t->write('request');
        }];
        yield 'in the middle of a reply' => [static function (PersistentTransport $t, $peer): void {
            $t->begin();
            $t->write('request');
            fwrite($peer, 'rep');
            $t->read();
        }];
        yield 'unread bytes after a complete exchange' => [static function (PersistentTransport $t, $peer): void {
            $t->begin();
            $t->write('request');
            fwrite($peer, 'reply');
            $t->read();
            $t->end();
            fwrite($peer, 'stray');
        }];
        yield 'written by other code' => [static function (PersistentTransport $t): void {
            $t->end();
            fwrite($t->stream(), 'x');
        }];
        yield 'used by other code, request and reply' => [static function (PersistentTransport $t, $peer): void {
            $t->end();
            fwrite($t->stream(), 'request');
            fwrite($peer, 'reply');
            fread($t->stream(), 100);
        }];
        yield 'marked as not clean by other code' => [static function (PersistentTransport $t): void {
            $t->end();
            fwrite($t->stream(), 'x');
            stream_set_chunk_size($t->stream(), 8_192);
        }];
        yield 'closed by the peer' => [static function (PersistentTransport $t, $peer): void {
            $t->begin();
            $t->write('request');
            $t->end();
            fclose($peer);
        }];
    }

    /**
     * @dataProvider uncleanUses
     *
     * @param \Closure(PersistentTransport, resource): void $leave
     */
    public function testNeverReusesASocketThatWasNotLeftClean(\Closure $leave): void
    {
        [$transport, $peer] = $this->connect();
        $leave($transport, $peer);
        $transport->leave();

        [$again, $second] = $this->connect();
        self::assertNotNull($second, 'a new connection');
        self::assertFalse($again->hasHistory());
        self::assertTrue($again->begin());
        $again->close();
    }

    public function testGivesEveryOwnerItsOwnSocket(): void
    {
        $transports = [];
        $peers = [];
        for ($i = 0; $i < 5; $i++) {
            [$transports[$i], $peers[$i]] = $this->connect();
            self::assertNotNull($peers[$i], "connection $i");
        }
        self::assertInstanceOf(PersistentTransport::class, $transports[2]);
        self::assertNotInstanceOf(PersistentTransport::class, $transports[3], 'all slots are in use');
        $transports[1]->end();
        $transports[1]->leave();
        [$again, $peer] = $this->connect();
        self::assertNull($peer, 'the slot that became free');
        foreach ([$transports[0], $again, $transports[2]] as $transport) {
            $transport->close();
        }
    }

    public function testALongPathLeavesFewerSlots(): void
    {
        $directory = $this->scratch->path('d');
        mkdir($directory);
        $path = str_pad("$directory/", 106, 'x');
        $listener = stream_socket_server("unix://$path");
        $connector = new PersistentConnector("unix://$path", 20);
        $transports = [];
        for ($i = 0; $i < 4; $i++) {
            $transports[] = $connector->connect();
            stream_socket_accept($listener, 5);
        }
        $kinds = array_map(static fn (object $t): bool => $t instanceof PersistentTransport, $transports);
        self::assertSame([true, true, false, false], $kinds);
        foreach ($transports as $transport) {
            $transport->close();
        }
    }

    public function testTwoClientsInOneRequestUseDifferentSockets(): void
    {
        $server = $this->play([[['serve' => 'shuffled']]]);
        $options = new Options(timeout: 20.0, persistent: true);
        for ($round = 0; $round < 3; $round++) {
            $first = Client::connect($server->address, $options);
            $second = Client::connect($server->address, $options);
            $future = $first->callAsync('system.echo', ['first']);
            self::assertSame(['second'], $second->call('system.echo', ['second']));
            self::assertSame(['first'], $future->await());
            unset($first, $second, $future);
        }
        self::assertCount(2, $server->finish()['connections']);
    }

    /**
     * Connects and returns the transport, and the peer's end if a new connection was made.
     *
     * @return array{\Jackfield\Transport\Transport, resource|null}
     */
    private function connect(): array
    {
        $transport = $this->connector->connect();

        return [$transport, @stream_socket_accept($this->listener, 0) ?: null];
    }
}
