<?php

declare(strict_types=1);

namespace Jackfield\Tests\Fpm;

use Jackfield\Transport\Connector;
use Jackfield\Transport\Transport;

/**
 * Makes connections under which the request is terminated.
 */
final class TerminatingConnector implements Connector
{
    public function __construct(
        private readonly Connector $connector,
        private readonly int $at,
        private readonly string $way,
        private readonly string $pidFile,
    ) {
    }

    public function connect(): Transport
    {
        return new TerminatingTransport($this->connector->connect(), $this->at, $this->way, $this->pidFile);
    }

    public function address(): string
    {
        return $this->connector->address();
    }
}
