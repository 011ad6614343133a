<?php

declare(strict_types=1);

namespace Jackfield\Tests\Fpm;

use Jackfield\Transport\Connector;
use Jackfield\Transport\StreamTransport;
use Jackfield\Transport\Transport;

/**
 * Makes persistent connections as many programs do: it uses the socket in whatever state it is.
 */
final class UncheckedConnector implements Connector
{
    public function __construct(private readonly string $address)
    {
    }

    public function connect(): Transport
    {
        $stream = stream_socket_client(
            $this->address,
            $code,
            $text,
            1.0,
            STREAM_CLIENT_CONNECT | STREAM_CLIENT_PERSISTENT
        );

        return new class ($stream) extends StreamTransport {
            public function close(): void
            {
            }
        };
    }

    public function address(): string
    {
        return $this->address;
    }
}
