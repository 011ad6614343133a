<?php

declare(strict_types=1);

namespace Jackfield\Exception;

/**
 * Thrown when the host is shutting down or restarting.
 *
 * The host did not start the request. A new connection reaches the next host.
 */
final class GoingAwayException extends RemoteException
{
}
