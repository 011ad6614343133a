<?php

declare(strict_types=1);

namespace Jackfield\Exception;

/**
 * Thrown when the reply is valid, but this client cannot return it.
 *
 * It is larger than Options::$maxFrameBytes, nested deeper than 512 levels, or contains a value
 * that PHP cannot hold. The request was executed. Other calls on the connection continue.
 */
final class UnreadableReplyException extends ProtocolException
{
}
