<?php

declare(strict_types=1);

namespace Jackfield\Tests\Support;

/**
 * An exception of a signal handler, as a job queue throws it when the time of a job is up.
 */
final class JobTimeout extends \Exception
{
}
