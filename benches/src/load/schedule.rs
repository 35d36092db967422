//! When each request has its moment.
