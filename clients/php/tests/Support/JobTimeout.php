<?php

declare(strict_types=1);

namespace Jackfield\Tests\Support;

/**
 * What the signal handler of a test throws, as a job queue does when the time of a job is up.
 */
final class JobTimeout extends \Exception
{
}
