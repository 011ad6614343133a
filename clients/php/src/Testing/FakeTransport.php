<?php

declare(strict_types=1);

namespace Jackfield\Testing;

use Jackfield\Transport\StreamTransport;

/**
 * A connection to a FakeHost.
 *
 * write() passes the requests to the fake host directly. The replies pass through a real socket
 * pair, so that stream_select() reports them.
 *
 * @internal
 */
final class FakeTransport extends StreamTransport
{
    /** @var resource|null the host's end of the socket pair; null after the host closed it */
    private $hostEnd;

    private readonly FakeConnection $connection;

    /** Replies that the socket has not accepted yet. */
    private string $unsent = '';

    public function __construct(FakeHost $host)
    {
        $pair = stream_socket_pair(STREAM_PF_UNIX, STREAM_SOCK_STREAM, 0);
        if ($pair === false) {
            throw new \RuntimeException('FakeTransport: stream_socket_pair() failed');
        }

        [$clientEnd, $this->hostEnd] = $pair;
        stream_set_blocking($this->hostEnd, false);
        $this->connection = new FakeConnection($host);
        parent::__construct($clientEnd);
    }

    public function write(string $bytes, int $offset = 0): ?int
    {
        if ($this->hostEnd === null) {
            return null;
        }

        $bytes = substr($bytes, $offset);
        $isClosed = false;
        $answers = $this->connection->receive($bytes, $isClosed);
        $this->unsent .= $answers;
        if ($isClosed) {
            $this->flush();
            fclose($this->hostEnd);
            $this->hostEnd = null;
        }
        $this->flush();

        return strlen($bytes);
    }

    public function read(): ?string
    {
        $bytes = parent::read();
        $this->flush();

        return $bytes;
    }

    /**
     * Announces the end of the host to the client.
     */
    public function goAway(): void
    {
        $this->unsent .= $this->connection->goAway();
        $this->flush();
    }

    private function flush(): void
    {
        if ($this->hostEnd !== null && $this->unsent !== '') {
            $sent = (int) fwrite($this->hostEnd, $this->unsent);
            $this->unsent = substr($this->unsent, $sent);
        }
    }
}
