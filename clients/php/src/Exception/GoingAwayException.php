<?php

/**
 * The host is shutting down or restarting: it did not start the request, and a new connection reaches its successor.
 */

declare(strict_types=1);

namespace Jackfield\Exception;

final class GoingAwayException extends RemoteException
{
}
