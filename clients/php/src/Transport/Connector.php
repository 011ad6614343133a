<?php

/**
 * Makes connections to one host.
 */

declare(strict_types=1);

namespace Jackfield\Transport;

use Jackfield\Exception\ConnectException;

interface Connector
{
    /**
     * Connects without waiting for longer than a moment.
     *
     * @throws ConnectException isRetryable() when the next attempt may go better
     */
    public function connect(): Transport;

    /** The address, for error texts and logs. */
    public function address(): string;
}
