<?php

declare(strict_types=1);

namespace Jackfield\Transport;

use Jackfield\Exception\ConnectException;

/**
 * Makes connections to one host.
 */
interface Connector
{
    /**
     * Makes a connection without waiting for the host.
     *
     * @throws ConnectException if no connection could be made; isRetryable() returns true if a
     *                          later attempt may succeed
     */
    public function connect(): Transport;

    /**
     * Returns the address for error messages and logs.
     */
    public function address(): string;
}
